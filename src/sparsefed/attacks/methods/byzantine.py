"""Byzantine vectors on the ℓ2 sphere (Table 3a): noise, or the honest mean reversed."""

from typing import ClassVar

import torch

from sparsefed.attacks.base import Colluding
from sparsefed.attacks.view import Grant, View
from sparsefed.core.types import Vector

__all__ = ["Gaussian", "SignFlip"]


class Gaussian(Colluding):
    """One random direction per round, the same for all colluders (Blanchard et al., 2017)."""

    def vector(self, view: View, generator: torch.Generator) -> Vector:
        device = generator.device
        noise = torch.randn(len(view.params), generator=generator, device=device, dtype=view.params.dtype)
        return noise.to(view.params.device)


class SignFlip(Colluding):
    """Minus the mean of the honest updates, as long as the server allows."""

    needs: ClassVar[Grant] = Grant.HONEST_UPDATES

    def vector(self, view: View, generator: torch.Generator) -> Vector:
        return -view.honest_mean

"""How long a client's update may be: the ℓ2 clip that the server enforces on every update."""

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from sparsefed.core.knobs import Knob, Knobs
from sparsefed.core.spec import Spec
from sparsefed.core.types import PerClient

__all__ = ["AdaptiveClip", "Clip", "FixedClip", "QuantileClip", "Unclipped"]


class Clip(Spec, family=True):
    """The bound L on the ℓ2 norm of an update. Its memory, like a defense's, is passed and never kept."""

    def init(self) -> Tensor:
        """The memory before the first round; empty where the clip has none."""
        return torch.empty(0, dtype=torch.float64)

    @abstractmethod
    def norm_at(self, lr: float, state: Tensor) -> float:
        """L in a round of learning rate `lr`."""

    def next(self, state: Tensor, norms: PerClient) -> Tensor:
        """The memory after a round in which the clients' updates had `norms` before the clip."""
        return state


class Unclipped(Clip):
    """No bound: the paper's undefended system."""

    def norm_at(self, lr: float, state: Tensor) -> float:
        return math.inf


class FixedClip(Clip):
    """The same bound in every round (Sun et al., 2019)."""

    knobs: ClassVar[Knobs] = {"norm": Knob(0.02, 20, log=True)}

    norm: float = Field(gt=0, allow_inf_nan=False)
    """L, the ℓ2 bound on an update."""

    def norm_at(self, lr: float, state: Tensor) -> float:
        return self.norm


class AdaptiveClip(Clip):
    """A bound that follows the learning rate, L·λ(t) (Appendix B.2), for updates that contain it (FedAvg)."""

    knobs: ClassVar[Knobs] = {"norm": Knob(0.02, 20, log=True)}

    norm: float = Field(gt=0, allow_inf_nan=False)
    """L, the ℓ2 bound on an update divided by the learning rate."""

    def norm_at(self, lr: float, state: Tensor) -> float:
        return self.norm * lr


class QuantileClip(Clip):
    """A bound that follows a quantile of the clients' norms (Andrew et al., 2021, Algorithm 1).

    C ← C · exp(−η (b − γ)), where b is the share of the round's updates of norm at most C. The server sees
    the norms, so their noise on b is left out. A minority can move the quantile only as far as its share of
    the round reaches. Updates of zeros say nothing about a length and are not counted: a round of them leaves
    C as it is, where the printed rule would shrink it to nothing.
    """

    knobs: ClassVar[Knobs] = {"quantile": Knob(0.05, 0.9)}

    quantile: float = Field(default=0.5, gt=0, lt=1)
    """γ, the share of updates that shall pass unshortened."""
    start: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    """C, the ℓ2 bound in the first round."""
    rate: float = Field(default=0.2, gt=0, allow_inf_nan=False)
    """η, how fast log C may move in a round."""

    def init(self) -> Tensor:
        return torch.tensor(self.start, dtype=torch.float64)

    def norm_at(self, lr: float, state: Tensor) -> float:
        return float(state)

    def next(self, state: Tensor, norms: PerClient) -> Tensor:
        counted = norms[norms.isfinite() & (norms > 0)]
        if len(counted) == 0:
            return state
        below = float((counted <= float(state)).double().mean())
        limits = torch.finfo(torch.float64)
        step = torch.tensor(-self.rate * (below - self.quantile), dtype=torch.float64).exp()
        return (state * step).clamp(limits.tiny, limits.max)  # from 0 or infinity there is no way back

"""An attack of your own: a little is enough."""

from typing import ClassVar

import torch
from pydantic import Field

import sparsefed as sf


class LittleIsEnough(sf.Method):
    """The honest mean, moved by z standard deviations in every coordinate (Baruch et al., NeurIPS 2019).

    Small enough to pass for an honest update, and the same direction in every round.
    """

    needs: ClassVar[sf.Grant] = sf.Grant.HONEST_UPDATES  # without this `view.honest` is None

    z: float = Field(default=1.0, gt=0)
    """How far to move, in standard deviations of the honest updates."""

    def craft(self, view: sf.View, generator: torch.Generator) -> torch.Tensor:
        if view.honest is None or view.honest.count == 0:  # nobody to hide among in this round
            return torch.zeros(view.uploads, len(view.params))
        spread = view.honest.rows().std(dim=0, correction=0)
        return (view.honest_mean - self.z * spread).expand(view.uploads, -1)

"""How long a client's update may be: the ℓ2 clip that the server enforces on every update."""

import math
from abc import abstractmethod

from pydantic import Field

from sparsefed.spec import Spec

__all__ = ["AdaptiveClip", "Clip", "FixedClip", "Unclipped"]


class Clip(Spec, family=True):
    """The bound L on the ℓ2 norm of an update."""

    @abstractmethod
    def norm_at(self, lr: float) -> float:
        """L in a round of learning rate `lr`."""


class Unclipped(Clip):
    """No bound: the paper's undefended system."""

    def norm_at(self, lr: float) -> float:
        return math.inf


class FixedClip(Clip):
    """The same bound in every round (Sun et al., 2019)."""

    norm: float = Field(gt=0, allow_inf_nan=False)
    """L, the ℓ2 bound on an update."""

    def norm_at(self, lr: float) -> float:
        return self.norm


class AdaptiveClip(Clip):
    """A bound that follows the learning rate, L·λ(t) (Appendix B.2), for updates that contain it (FedAvg)."""

    norm: float = Field(gt=0, allow_inf_nan=False)
    """L, the ℓ2 bound on an update divided by the learning rate."""

    def norm_at(self, lr: float) -> float:
        return self.norm * lr

"""What becomes of the velocity where the model has just moved: three readings of the paper.

The text asks for zeroing ("momentum factor masking", Rothchild et al., 2020), and so does the released
code; Algorithm 1 subtracts what moved, and the listing of Algorithm 5 leaves the line out.
"""

from abc import abstractmethod

from torch import Tensor

from sparsefed.core.spec import Spec
from sparsefed.core.types import Vector

__all__ = ["Masking", "NoMasking", "SubtractMasking", "ZeroMasking"]


class Masking(Spec, family=True):
    """The last line of a SparseFed round."""

    @abstractmethod
    def apply(self, velocity: Vector, chosen: Tensor, moved: Vector) -> None:
        """Change `velocity` in place, where the coordinates `chosen` have moved by `moved`."""


class ZeroMasking(Masking):
    """R ← 0 on the chosen coordinates: what has been applied is not applied again."""

    def apply(self, velocity: Vector, chosen: Tensor, moved: Vector) -> None:
        velocity[chosen] = 0.0


class SubtractMasking(Masking):
    """R ← R − Δ, as Algorithm 1 prints it: the velocity may change its sign."""

    def apply(self, velocity: Vector, chosen: Tensor, moved: Vector) -> None:
        velocity[chosen] -= moved


class NoMasking(Masking):
    """R stays, as in the listing of Algorithm 5: a coordinate that has moved keeps moving."""

    def apply(self, velocity: Vector, chosen: Tensor, moved: Vector) -> None:
        pass

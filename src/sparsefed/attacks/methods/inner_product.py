"""Inner-product manipulation (Xie, Koyejo and Gupta, UAI 2019), as published and against the actual rule."""

from pydantic import Field

from sparsefed.attacks.methods.deviation import AgainstRule, Deviation
from sparsefed.attacks.view import View
from sparsefed.core.types import Vector
from sparsefed.protocol.updates import Updates

__all__ = ["IPM", "OptimizedIPM"]


class IPM(Deviation):
    """−ε times the honest mean: what the server makes of all shall point away from it.

    A small ε passes rules that compare distances; one above n/m turns a plain mean around.
    """

    epsilon: float = Field(default=0.5, gt=0, allow_inf_nan=False)
    """ε."""

    def direction(self, honest: Updates) -> Vector:
        return -honest.mean()

    def size(self, view: View, honest: Updates, direction: Vector) -> float:
        return 1 + self.epsilon


class OptimizedIPM(AgainstRule, IPM):
    """`IPM` with the size that has the most effect on the server's rule in this round."""

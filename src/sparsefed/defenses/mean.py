"""The plain average with server momentum (FedAvg; Algorithm 4)."""

from sparsefed.core.types import Vector
from sparsefed.defenses.base import Aggregate, finite_mean
from sparsefed.protocol.updates import Updates

__all__ = ["Mean"]


class Mean(Aggregate):
    """No defense by itself; together with a clip it is the paper's ℓ2 clipping defense."""

    def aggregate(self, updates: Updates) -> Vector:
        return finite_mean(self, updates)

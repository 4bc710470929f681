"""The plain average with server momentum (FedAvg; Algorithm 4)."""

from pydantic import Field

from sparsefed.defenses.base import Defense, Velocity, aggregate_mean
from sparsefed.types import Vector
from sparsefed.updates import Updates

__all__ = ["Mean"]


class Mean(Defense):
    """No defense by itself; together with a clip it is the paper's ℓ2 clipping defense."""

    momentum: float = Field(default=0.0, ge=0, lt=1)
    """ρ, the share of the velocity that survives a round."""

    def init(self, params: Vector) -> Velocity:
        return Velocity(params.new_zeros(params.shape))

    def step(self, updates: Updates, state: Velocity, lr: float = 1.0) -> tuple[Vector, Velocity]:
        mean = aggregate_mean(self, updates, state.velocity)
        velocity = self.momentum * state.velocity + mean  # R ← ρR + u
        return lr * velocity, Velocity(velocity)  # θ ← θ − λR

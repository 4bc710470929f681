"""SparseFed: only the top k coordinates of the error-corrected aggregate move the model (Algorithms 1 and 5).

Where the two listings and the text disagree, see `docs/deviations.md`.
"""

from typing import NamedTuple

from pydantic import Field

from sparsefed.defenses.base import Defense, aggregate_mean
from sparsefed.errors import SpecError
from sparsefed.kernels import accumulate, top_k
from sparsefed.types import Vector
from sparsefed.updates import Updates

__all__ = ["Memory", "SparseFed"]


class Memory(NamedTuple):
    """What SparseFed remembers between rounds."""

    velocity: Vector
    """R."""
    error: Vector
    """W, everything aggregated that has not moved the model yet."""


class SparseFed(Defense):
    """Global top-k sparsification with error feedback and momentum factor masking."""

    k: int = Field(gt=0)
    """How many coordinates move in a round."""
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """ρ, the share of the velocity that survives a round."""

    def init(self, params: Vector) -> Memory:
        if self.k > params.numel():
            raise SpecError(
                f"SparseFed(k={self.k}) needs a model of at least k parameters, got {params.numel()}"
            )
        return Memory(params.new_zeros(params.shape), params.new_zeros(params.shape))

    def step(self, updates: Updates, state: Memory, lr: float = 1.0) -> tuple[Vector, Memory]:
        mean = aggregate_mean(self, updates, state.velocity)
        # R ← ρR + u, W ← W + R
        velocity, error = accumulate(state.velocity, state.error, mean, self.momentum)
        chosen = top_k(error, self.k)  # S ← the k coordinates of largest |W|
        delta = error.new_zeros(error.shape)
        delta[chosen] = lr * error[chosen]  # Δ ← W on S, and θ ← θ − λΔ
        error[chosen] = 0.0  # W ← W − Δ
        velocity[chosen] = 0.0  # momentum factor masking: R ← 0 on S
        return delta, Memory(velocity, error)

    def traffic(self, params: int) -> tuple[int, int]:
        """Whole updates go up; k values and their k indices come down."""
        return params, 2 * self.k

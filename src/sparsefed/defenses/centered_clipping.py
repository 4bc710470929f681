"""Centered clipping: every update is clipped around the last aggregate (Karimireddy et al., ICML 2021)."""

from typing import ClassVar, NamedTuple

import torch
from pydantic import Field

from sparsefed.core.knobs import Knob, Knobs
from sparsefed.core.types import Vector
from sparsefed.defenses.base import Defense, as_precise, check_size, finite_rows
from sparsefed.defenses.cost import Cost
from sparsefed.kernels import row_norms, weighted_sum
from sparsefed.protocol.updates import Updates

__all__ = ["Center", "CenteredClipping"]


class Center(NamedTuple):
    """What centered clipping remembers."""

    center: Vector
    """v, the last aggregate."""
    velocity: Vector
    """R, the decaying sum of past aggregates."""


class CenteredClipping(Defense):
    """v ← v + mean of (uᵢ − v) min(1, τ / ‖uᵢ − v‖), some times over, from the last round's v (Algorithm 2).

    What m attackers of n can add in a step is at most (m / n) τ. The paper's momentum is the clients';
    here it is the server's, as for every rule.
    """

    needs_rows: ClassVar[bool] = True
    cost: ClassVar[Cost] = Cost("steps · nd", "nd", sums=1)
    knobs: ClassVar[Knobs] = {"momentum": Knob(0, 0.95), "radius": Knob(0.01, 10, log=True)}

    radius: float = Field(gt=0, allow_inf_nan=False)
    """τ, how far from v an update may pull, in ℓ2."""
    steps: int = Field(default=1, gt=0)
    """L, how many times the clients are averaged in a round."""
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """ρ, the share of the velocity that survives a round."""

    def init(self, params: Vector, seed: int = 0) -> Center:
        return Center(torch.zeros_like(params), torch.zeros_like(params))

    def step(self, updates: Updates, state: Center, lr: float = 1.0) -> tuple[Vector, Center]:
        check_size(self, updates, state.center.numel())
        rows = finite_rows(self, updates, least=1).rows()
        center = state.center.to(rows)
        for _ in range(self.steps):
            away = rows - center
            factors = (self.radius / row_norms(away)).clamp(max=1.0)  # of a length of 0: infinite, then 1
            center = center + weighted_sum(factors / len(rows), away)
        center = as_precise(self, center, state.center)
        velocity = self.momentum * state.velocity + center
        return lr * velocity, Center(center, velocity)

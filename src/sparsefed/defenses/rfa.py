"""RFA: the geometric median by smoothed Weiszfeld steps (Pillutla, Kakade and Harchaoui, IEEE TSP 2022)."""

from typing import ClassVar

import torch
from pydantic import Field

from sparsefed.core.knobs import Knob, Knobs
from sparsefed.core.types import PerClient, Vector
from sparsefed.defenses.base import Aggregate, finite_weighted_rows
from sparsefed.defenses.cost import Cost
from sparsefed.kernels import row_norms
from sparsefed.protocol.updates import Updates

__all__ = ["RFA"]


class RFA(Aggregate):
    """Average with weights αᵢ / max(ν, ‖v − uᵢ‖), again and again, from the mean on (Algorithm 2).

    v approaches the point of least weighted sum of distances to all updates. Attackers move it without
    bound only if they hold half of the weight. With weights, αᵢ is a client's share of them.
    """

    needs_rows: ClassVar[bool] = True
    cost: ClassVar[Cost] = Cost("steps · nd", "nd", sums=5)
    knobs: ClassVar[Knobs] = {**Aggregate.knobs, "nearest": Knob(1e-6, 1, log=True)}

    steps: int = Field(default=4, gt=0)
    """R, how many averages are taken; one sum over clients each."""
    nearest: float = Field(default=1e-6, gt=0)
    """ν, the smallest distance that counts, in units of the update: bounds the weights."""

    def aggregate(self, updates: Updates) -> Vector:
        rows, shares = finite_weighted_rows(self, updates)
        median = rows.weighted_sum(shares)
        for _ in range(self.steps):
            weights = shares / self._distances(rows.rows(), median).to(shares)
            median = rows.weighted_sum(weights / weights.sum())
        return median

    def _distances(self, rows: torch.Tensor, center: Vector) -> PerClient:
        return row_norms(rows - center).clamp(min=self.nearest)

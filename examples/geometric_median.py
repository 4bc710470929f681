"""A defense of your own: the geometric median."""

from typing import ClassVar

import torch
from pydantic import Field

import sparsefed as sf


class GeometricMedian(sf.Aggregate):
    """The point with the smallest sum of distances to all updates (Pillutla et al., IEEE TSP 2022).

    Found by Weiszfeld's iteration (1937): average with weights 1 / distance, again and again. Half of the
    updates must be hostile to move it arbitrarily far.
    """

    needs_rows: ClassVar[bool] = True  # clients are compared: their updates must exist one by one

    steps: int = Field(default=10, gt=0)
    """How many times the average is taken."""
    nearest: float = Field(default=1e-6, gt=0)
    """ν, the smallest distance that counts, in units of the update: bounds the weights."""

    def aggregate(self, updates: sf.Updates) -> torch.Tensor:
        rows = updates.rows()
        median = updates.mean()
        for _ in range(self.steps):
            distances = torch.linalg.vector_norm(rows - median, dim=1)
            weights = 1 / distances.clamp(min=self.nearest)
            median = weights @ rows / weights.sum()
        return median

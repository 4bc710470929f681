"""The mean around the median, MeaMed (Xie, Koyejo and Gupta, 2018)."""

from typing import ClassVar

import torch
from pydantic import Field

from sparsefed.core.knobs import Knob, Knobs
from sparsefed.core.types import PerClient, Vector
from sparsefed.defenses.base import Aggregate, finite_rows
from sparsefed.defenses.cost import Cost
from sparsefed.defenses.shares import central_shares
from sparsefed.kernels import mean_near_median
from sparsefed.protocol.updates import Updates

__all__ = ["MeanAroundMedian"]


class MeanAroundMedian(Aggregate):
    """Per coordinate, the mean of the n − f values nearest to the median; needs n ≥ 2f + 1 updates."""

    needs_rows: ClassVar[bool] = True
    cost: ClassVar[Cost] = Cost("nd log n", "nd", sums=None)
    knobs: ClassVar[Knobs] = {**Aggregate.knobs, "f": Knob(0.01, 0.45, share_of="cohort")}

    f: int = Field(ge=0)
    """How many compromised clients a round is expected to have."""

    @property
    def least(self) -> int:
        return 2 * self.f + 1

    def aggregate(self, updates: Updates) -> Vector:
        rows = finite_rows(self, updates, least=self.least)
        kept = rows.count - self.f
        return rows.columnwise(lambda block: mean_near_median(block, kept, rows.factors))

    def shares(self, updates: Updates) -> PerClient:
        rows = updates.as_dense()
        return central_shares(rows, rows.count - self.f, torch.arange(rows.count))

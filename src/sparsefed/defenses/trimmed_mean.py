"""Coordinate-wise trimmed mean (Yin et al., 2018; Algorithm 7)."""

from typing import ClassVar

from pydantic import Field

from sparsefed.core.knobs import Knob, Knobs
from sparsefed.core.types import PerClient, Vector
from sparsefed.defenses.base import Aggregate, finite_rows
from sparsefed.defenses.cost import Cost
from sparsefed.defenses.shares import ranked_shares
from sparsefed.kernels import trimmed_mean
from sparsefed.protocol.updates import Updates

__all__ = ["TrimmedMean"]


class TrimmedMean(Aggregate):
    """Per coordinate, the mean of the n − 2f values left without the f smallest and the f largest.

    Needs n ≥ 2f + 1 updates; f = 0 is the plain mean.
    """

    needs_rows: ClassVar[bool] = True
    cost: ClassVar[Cost] = Cost("nd log n", "nd", sums=None)

    knobs: ClassVar[Knobs] = {**Aggregate.knobs, "f": Knob(0.01, 0.45, share_of="cohort")}

    f: int = Field(ge=0)
    """How many compromised clients a round is expected to have; so many values are cut at either end."""

    @property
    def least(self) -> int:
        return 2 * self.f + 1

    def aggregate(self, updates: Updates) -> Vector:
        rows = finite_rows(self, updates, least=self.least)
        return rows.columnwise(lambda block: trimmed_mean(block, self.f, rows.factors))

    def shares(self, updates: Updates) -> PerClient:
        return ranked_shares(updates.as_dense(), self.f, updates.count - self.f)

"""Coordinate-wise median (Yin et al., 2018; Appendix B.1.3)."""

from typing import ClassVar

from sparsefed.core.types import PerClient, Vector
from sparsefed.defenses.base import Aggregate, finite_rows
from sparsefed.defenses.cost import Cost
from sparsefed.defenses.shares import ranked_shares
from sparsefed.kernels import median
from sparsefed.protocol.updates import Updates

__all__ = ["Median"]


class Median(Aggregate):
    """Per coordinate, the middle value; of an even number of clients the average of the two middle ones."""

    needs_rows: ClassVar[bool] = True
    cost: ClassVar[Cost] = Cost("nd log n", "nd", sums=None)

    def aggregate(self, updates: Updates) -> Vector:
        rows = finite_rows(self, updates, least=1)
        return rows.columnwise(lambda block: median(block, rows.factors))

    def shares(self, updates: Updates) -> PerClient:
        return ranked_shares(updates.as_dense(), (updates.count - 1) // 2, updates.count // 2 + 1)

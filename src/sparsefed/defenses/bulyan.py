"""Bulyan (El Mhamdi et al., 2018), and Bulyan as the paper prints it (Algorithm 9)."""

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from sparsefed.core.knobs import Knob, Knobs
from sparsefed.core.types import PerClient, Vector
from sparsefed.defenses.base import Aggregate, finite_distances
from sparsefed.defenses.cost import Cost
from sparsefed.defenses.krum import Krum, PaperKrum
from sparsefed.defenses.shares import central_shares, ranked_shares
from sparsefed.kernels import mean_near_median, trimmed_mean
from sparsefed.protocol.updates import Dense, Updates

__all__ = ["Bulyan", "PaperBulyan"]


class Bulyan(Aggregate):
    """Krum picks n − 2f updates; per coordinate, the n − 4f of them nearest their median are averaged.

    Picks are made one by one, and Krum scores the remaining updates anew after each. Needs n ≥ 4f + 3
    updates.
    """

    needs_rows: ClassVar[bool] = True
    cost: ClassVar[Cost] = Cost("n²d + n³ + nd log n", "nd + n²", sums=None)

    knobs: ClassVar[Knobs] = {**Aggregate.knobs, "f": Knob(0.01, 0.24, share_of="cohort")}

    f: int = Field(ge=0)
    """How many compromised clients a round is expected to have."""

    @property
    def least(self) -> int:
        return 4 * self.f + 3

    @property
    def krum(self) -> Krum:
        """The rule that picks."""
        return Krum(f=self.f)

    def selected(self, updates: Updates) -> Tensor:
        """Positions of the n − 2f picked clients, in the order of picking."""
        distances = finite_distances(self, updates, self.least)
        krum, left, picked = self.krum, np.arange(len(distances)), []
        while len(picked) < len(distances) - 2 * self.f:
            best = krum.scores(distances[np.ix_(left, left)]).argmin()
            picked.append(left[best])
            left = np.delete(left, best)
        return torch.from_numpy(np.array(picked))

    def aggregate(self, updates: Updates) -> Vector:
        rows = updates.as_dense()
        return self._combine(rows, self.selected(rows))

    def _combine(self, rows: Dense, selected: Tensor) -> Vector:
        kept = rows.count - 4 * self.f
        return rows.columnwise(lambda block: mean_near_median(block, kept, rows.factors, selected))

    def shares(self, updates: Updates) -> PerClient:
        rows = updates.as_dense()
        return central_shares(rows, rows.count - 4 * self.f, self.selected(rows))


class PaperBulyan(Bulyan):
    """Algorithm 9 as printed: the picks are Algorithm 8's, and a trimmed mean with f combines them."""

    @property
    def krum(self) -> Krum:
        return PaperKrum(f=self.f)

    def _combine(self, rows: Dense, selected: Tensor) -> Vector:
        return rows.columnwise(lambda block: trimmed_mean(block, self.f, rows.factors, selected))

    def shares(self, updates: Updates) -> PerClient:
        rows, selected = updates.as_dense(), self.selected(updates)
        return ranked_shares(rows, self.f, len(selected) - self.f, selected)

"""Krum and Multi-Krum (Blanchard et al., 2017), and Krum as the paper prints it (Algorithm 8)."""

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field

from sparsefed.core.knobs import Knob, Knobs
from sparsefed.core.types import PerClient, Vector
from sparsefed.defenses.base import Aggregate, finite_distances
from sparsefed.defenses.cost import Cost
from sparsefed.protocol.updates import Updates

__all__ = ["Krum", "MultiKrum", "PaperKrum"]


class Krum(Aggregate):
    """The one update whose n − f − 2 nearest others are nearest, in squared ℓ2 distance.

    Needs n ≥ 2f + 3 updates. Of equal scores the first client's wins. Clients that send the same
    vector are at distance exactly 0 from each other.
    """

    needs_rows: ClassVar[bool] = True
    cost: ClassVar[Cost] = Cost("n²d", "nd + n²", sums=None)

    knobs: ClassVar[Knobs] = {**Aggregate.knobs, "f": Knob(0.01, 0.45, share_of="cohort")}

    f: int = Field(ge=0)
    """How many compromised clients a round is expected to have."""

    @property
    def least(self) -> int:
        """How many updates the rule needs."""
        return 2 * self.f + 3

    @property
    def count(self) -> int:
        """How many updates it selects."""
        return 1

    def scores(self, squared_distances: np.ndarray) -> np.ndarray:
        """Every client's sum of squared distances to its n − f − 2 nearest others, but at least to one."""
        return nearest_sums(squared_distances, len(squared_distances) - self.f - 2)

    def selected(self, updates: Updates) -> np.ndarray:
        """Positions of the selected clients, best first."""
        scores = self.scores(finite_distances(self, updates, self.least))
        return np.argsort(scores, kind="stable")[: self.count]

    def aggregate(self, updates: Updates) -> Vector:
        rows, best = updates.as_dense(), self.selected(updates)[0]
        return rows.row(int(best)) * (1.0 if rows.factors is None else float(rows.factors[best]))

    def shares(self, updates: Updates) -> PerClient:
        shares = torch.zeros(updates.count, dtype=torch.float64)
        shares[torch.from_numpy(self.selected(updates))] = 1.0
        return shares


class MultiKrum(Krum):
    """The average of the m updates with the best Krum scores; needs n ≥ 2f + 3 and n ≥ m + f updates."""

    knobs: ClassVar[Knobs] = {**Krum.knobs, "m": Knob(0.1, 0.98, share_of="cohort")}

    m: int = Field(gt=0)
    """How many updates are averaged."""

    @property
    def least(self) -> int:
        return max(2 * self.f + 3, self.m + self.f)

    @property
    def count(self) -> int:
        return self.m

    def aggregate(self, updates: Updates) -> Vector:
        rows = updates.as_dense()
        return rows.weighted_sum(self.shares(rows) / self.m)


class PaperKrum(Krum):
    """Algorithm 8 as printed: distances are not squared, and n − f − 3 others count.

    The listing takes the f + 2 farthest out of a set that still contains the update itself.
    Needs n ≥ max(2f + 3, f + 4) updates.
    """

    @property
    def least(self) -> int:
        return max(2 * self.f + 3, self.f + 4)

    def scores(self, squared_distances: np.ndarray) -> np.ndarray:
        """Every client's sum of distances to its n − f − 3 nearest others, but at least to one."""
        return nearest_sums(np.sqrt(squared_distances), len(squared_distances) - self.f - 3)


def nearest_sums(distances: np.ndarray, count: int) -> np.ndarray:
    """Per row, the sum of the `count` (at least 1) smallest entries off the diagonal."""
    others = distances.copy()
    np.fill_diagonal(others, np.inf)
    with np.errstate(over="ignore"):  # as far as can be
        return np.sort(others, axis=1)[:, : max(count, 1)].sum(axis=1)

"""MDA, minimum-diameter averaging (Rousseeuw, 1985; El Mhamdi, Guerraoui and Rouault, 2020)."""

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field

from sparsefed.core.knobs import Knob, Knobs
from sparsefed.core.types import PerClient, Vector
from sparsefed.defenses.base import Aggregate, finite_distances
from sparsefed.defenses.cost import Cost
from sparsefed.protocol.updates import Updates

__all__ = ["MDA"]

MOST = 16
"""The largest f: the search for the best subset grows by half with every unit of it."""


class MDA(Aggregate):
    """The mean of the n − f updates of least diameter: of least distance between the two farthest of them.

    Of several such sets the first in lexicographic order is taken. Needs n ≥ 2f + 1 updates. The search is
    exponential in f, so f is at most 16.
    """

    needs_rows: ClassVar[bool] = True
    cost: ClassVar[Cost] = Cost("n²d + n³ · 1.5^f", "nd + n²", sums=None)
    knobs: ClassVar[Knobs] = {**Aggregate.knobs, "f": Knob(0.01, 0.15, share_of="cohort")}

    f: int = Field(ge=0, le=MOST)
    """How many compromised clients a round is expected to have."""

    @property
    def least(self) -> int:
        return 2 * self.f + 1

    def selected(self, updates: Updates) -> np.ndarray:
        """Positions of the n − f clients that are averaged, ascending."""
        return tightest(finite_distances(self, updates, self.least), self.f)

    def aggregate(self, updates: Updates) -> Vector:
        rows = updates.as_dense()
        return rows.weighted_sum(self.shares(rows) / (rows.count - self.f))

    def shares(self, updates: Updates) -> PerClient:
        shares = torch.zeros(updates.count, dtype=torch.float64)
        shares[torch.from_numpy(self.selected(updates))] = 1.0
        return shares


def tightest(distances: np.ndarray, f: int) -> np.ndarray:
    """The first set of n − f positions whose largest distance is least.

    A diameter D can be had if f positions touch all pairs farther apart than D: a vertex cover.
    """
    levels = np.unique(distances)
    low, high = 0, len(levels) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if coverable(distances > levels[middle], f) else (middle + 1, high)
    return _first_kept(distances > levels[low], f)


def coverable(far: np.ndarray, budget: int) -> bool:
    """Whether `budget` vertices of the graph with adjacency `far` can touch all of its edges."""
    degrees = far.sum(axis=1)
    vertex = int(degrees.argmax())
    if degrees[vertex] == 0:
        return True
    if degrees.sum() > 2 * budget * degrees[vertex]:
        return False
    if coverable(_without(far, [vertex]), budget - 1):
        return True
    neighbors = np.flatnonzero(far[vertex])
    return len(neighbors) <= budget and coverable(_without(far, neighbors), budget - len(neighbors))


def _without(far: np.ndarray, vertices: np.ndarray | list[int]) -> np.ndarray:
    left = far.copy()
    left[vertices] = left[:, vertices] = False
    return left


def _first_kept(far: np.ndarray, f: int) -> np.ndarray:
    """The lexicographically first n − f positions without an edge among them."""
    kept: list[int] = []
    dropped = np.zeros(len(far), bool)
    for i in range(len(far)):
        if dropped[i] or len(kept) == len(far) - f:
            continue
        with_i = dropped | far[i]
        rest = _without(far, np.flatnonzero(with_i))
        if with_i.sum() <= f and coverable(rest, f - int(with_i.sum())):
            kept.append(i)
            dropped = with_i
        else:
            dropped[i] = True
    return np.array(kept)

"""MoNNA: the mean of what is nearest to the server's own update (Farhadkhani et al., ICML 2023)."""

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field

from sparsefed.core.knobs import Knob, Knobs
from sparsefed.core.types import PerClient, Vector
from sparsefed.defenses.base import Aggregate, finite_rows, trusted_update
from sparsefed.defenses.cost import Cost
from sparsefed.kernels import row_norms
from sparsefed.protocol.updates import Updates

__all__ = ["MoNNA"]


class MoNNA(Aggregate):
    """The mean of the server's own update and of the n − f updates nearest to it, in ℓ2.

    Published for peers without a server, each of which trusts itself alone; here the server is the one
    honest peer, with `examples` of its own. Needs n ≥ 2f + 1 updates.
    """

    needs_rows: ClassVar[bool] = True
    cost: ClassVar[Cost] = Cost("nd", "nd", sums=None)
    knobs: ClassVar[Knobs] = {**Aggregate.knobs, "f": Knob(0.01, 0.45, share_of="cohort")}

    f: int = Field(ge=0)
    """How many compromised clients a round is expected to have."""
    examples: int = Field(default=100, gt=0)
    """How many training examples the server has of its own, drawn by the seed."""

    @property
    def server_examples(self) -> int:
        return self.examples

    def selected(self, updates: Updates) -> np.ndarray:
        """Positions of the n − f nearest clients, nearest first."""
        rows, own = finite_rows(self, updates, 2 * self.f + 1).rows(), trusted_update(self, updates)
        distances = row_norms(rows - own).cpu().numpy()
        return np.argsort(distances, kind="stable")[: len(rows) - self.f]

    def aggregate(self, updates: Updates) -> Vector:
        rows, kept = updates.as_dense(), updates.count - self.f
        return (rows.weighted_sum(self.shares(rows)) + trusted_update(self, updates)) / (kept + 1)

    def shares(self, updates: Updates) -> PerClient:
        shares = torch.zeros(updates.count, dtype=torch.float64)
        shares[torch.from_numpy(self.selected(updates))] = 1.0
        return shares

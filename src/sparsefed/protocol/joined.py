"""Two groups of updates seen as one, such as those of honest and of compromised clients."""

import math
from functools import cached_property

import torch

from sparsefed.core.errors import UpdateError
from sparsefed.core.types import PerClient, Vector
from sparsefed.protocol.updates import Dense, Updates

__all__ = ["Joined"]


class Joined(Updates):
    """Two groups of updates seen as one: the first group's clients come first."""

    def __init__(self, first: Updates, second: Updates) -> None:
        if first.size != second.size:
            raise UpdateError(f"expected updates of {first.size} parameters to join, found {second.size}")
        self.first, self.second = first, second
        self.count, self.size = first.count + second.count, first.size

    def norms(self) -> PerClient:
        return torch.cat([self.first.norms(), self.second.norms()])

    def admitted(self, clip_norm: float = math.inf) -> "Joined":
        return Joined(self.first.admitted(clip_norm), self.second.admitted(clip_norm))

    def sum(self) -> Vector:
        return self.first.sum() + self.second.sum()

    @cached_property
    def _dense(self) -> Dense:
        return self.first.as_dense().stacked(self.second.as_dense(), self.norms())

    def as_dense(self) -> Dense:
        self._dense.aside = self.aside
        return self._dense

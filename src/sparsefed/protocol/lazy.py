"""Updates that a client engine computes when they are asked for."""

import math
from functools import cached_property
from typing import Protocol

from sparsefed.core.types import Matrix, PerClient, Vector
from sparsefed.kernels import row_norms
from sparsefed.protocol.updates import Dense, Updates, check_clip

__all__ = ["Lazy", "Source"]


class Source(Protocol):
    """Something that computes the updates of a cohort on demand: a client engine."""

    count: int
    size: int

    def reduce(self, clip_norm: float) -> tuple[PerClient, Vector]:
        """Every client's norm before clipping, and the sum of the admitted updates, in one pass."""
        ...

    def rows(self) -> Matrix:
        """The unclipped updates, one row per client."""
        ...


class Lazy(Updates):
    """Updates computed by a `Source` in one bounded pass when first asked for, and then remembered."""

    def __init__(self, source: Source, clip_norm: float = math.inf) -> None:
        self.source, self.clip_norm = source, clip_norm
        self.count, self.size = source.count, source.size

    @cached_property
    def _reduced(self) -> tuple[PerClient, Vector]:
        return self.source.reduce(self.clip_norm)

    @cached_property
    def raw_norms(self) -> PerClient:
        """The norms as the clients sent them."""
        return self._reduced[0].double()

    def norms(self) -> PerClient:
        return self.raw_norms.clamp(max=self.clip_norm)

    def admitted(self, clip_norm: float = math.inf) -> Updates:
        check_clip(clip_norm)
        tighter = self if clip_norm >= self.clip_norm else Lazy(self.source, clip_norm)
        rows = None if bool(tighter.raw_norms.isfinite().all()) else tighter.as_dense()
        self.raw_norms = tighter.raw_norms  # one pass serves both
        return tighter if rows is None else rows.admitted()

    def sum(self) -> Vector:
        return self._reduced[1]

    def as_dense(self) -> Dense:
        self._dense.aside = self.aside
        return self._dense

    @cached_property
    def _dense(self) -> Dense:
        rows = self.source.rows()
        self.raw_norms = row_norms(rows)  # finite for every finite row, which an engine's may not be
        return Dense(rows, raw_norms=self.raw_norms).shortened(self.clip_norm)

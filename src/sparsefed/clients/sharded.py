"""A round's clients spread over the processes of a run, in blocks that are the same for all of them."""

import math
from functools import cached_property

import numpy as np

from sparsefed.clients.base import Clients, Work
from sparsefed.core.ranks import Ranks, cut
from sparsefed.core.types import PerClient, Vector
from sparsefed.protocol.columns import Columns
from sparsefed.protocol.updates import Updates, check_clip

__all__ = ["updates_of"]


def updates_of(clients: Clients, work: Work, ranks: Ranks | None) -> Updates:
    """The updates of the clients in `work.data`, of which each process computes its blocks."""
    whole = clients.updates(work)  # also where one process computes: the engine is chosen for all clients
    if ranks is None:
        return whole
    places = cut(len(work.data.sizes))
    parts = []
    for block in ranks.blocks():
        mine = np.zeros(len(work.data.sizes), bool)
        mine[places[block]] = True
        parts.append(clients.updates(work._replace(data=work.data.of(mine))))
    return _Sharded(ranks, parts, places, whole.size)


class _Sharded(Updates):
    """Blocks of updates, some of them in this process."""

    def __init__(
        self, ranks: Ranks, parts: list[Updates], places: list[slice], size: int, clip_norm: float = math.inf
    ) -> None:
        self.ranks, self.parts, self.places, self.clip_norm = ranks, parts, places, clip_norm
        self.count, self.size = places[-1].stop, size

    @cached_property
    def raw_norms(self) -> PerClient:
        """The norms as the clients sent them."""
        return self.ranks.gathered([part.norms() for part in self.parts], self.places)

    def norms(self) -> PerClient:
        return self.raw_norms.clamp(max=self.clip_norm)

    def admitted(self, clip_norm: float = math.inf) -> Updates:
        check_clip(clip_norm)
        short = [part.admitted(clip_norm) for part in self.parts]
        if not bool(self.raw_norms.isfinite().all()):
            return self.as_dense().admitted(clip_norm)
        tighter = _Sharded(self.ranks, short, self.places, self.size, min(clip_norm, self.clip_norm))
        tighter.raw_norms = self.raw_norms
        return tighter

    def sum(self) -> Vector:
        return self.ranks.summed([part.sum() for part in self.parts])

    def as_dense(self) -> Columns:
        self._columns.aside = self.aside
        return self._columns

    @cached_property
    def _columns(self) -> Columns:
        counts = [place.stop - place.start for place in self.places]
        dense = [part.as_dense() for part in self.parts]
        norms = self.ranks.gathered([part.norms() for part in dense], self.places)
        blocks = self.ranks.by_columns([part.rows() for part in dense], counts, cut(self.size))
        return Columns(self.ranks, blocks, self.size, norms)

"""Clients of two kinds as one source: most go through the network together, large ones one by one.

A client that fills a pass by itself has nothing to share with others. One by one, each in as many passes as
it needs, costs no more than the plain gradient of its examples.
"""

from collections.abc import Callable

import numpy as np

from sparsefed.clients.base import Work
from sparsefed.core.types import Matrix, PerClient, Vector
from sparsefed.protocol.lazy import Source

__all__ = ["parted"]


def parted(
    work: Work, large: np.ndarray, together: Callable[[Work], Source], alone: Callable[[Work], Source]
) -> Source:
    """The source that takes clients where the mask `large` is true `alone`, and the others `together`."""
    if not large.any():
        return together(work)
    if large.all():
        return alone(work)
    ways = (~large, together), (large, alone)
    return _Parted(work, [(mask, way(work._replace(data=work.data.of(mask)))) for mask, way in ways])


class _Parted:
    """The sources of some clients each, by masks."""

    def __init__(self, work: Work, parts: list[tuple[np.ndarray, Source]]) -> None:
        self.work, self.parts = work, parts
        self.count, self.size = len(work.data.sizes), work.network.size

    def reduce(self, clip_norm: float) -> tuple[PerClient, Vector]:
        norms, total = self.work.params.new_zeros(self.count), self.work.params.new_zeros(self.size)
        for mask, source in self.parts:
            norms[mask], part = source.reduce(clip_norm)
            total += part
        return norms, total

    def rows(self) -> Matrix:
        matrix = self.work.params.new_empty(self.count, self.size)
        for mask, source in self.parts:
            matrix[mask] = source.rows()
        return matrix

"""The literal loop: one client after the other, as in the pseudo-code; the reference of faster engines."""

from collections.abc import Callable, Iterator

from sparsefed.clients.base import Work
from sparsefed.core.seeds import Stream, kept, reseed
from sparsefed.core.types import Matrix, PerClient, Vector
from sparsefed.kernels import norm_of
from sparsefed.protocol.updates import clip_factors

__all__ = ["Loop"]

Client = Callable[[Work, int, slice], Vector]
"""Computes the update of the client at a position, whose examples are a slice of the round's."""


class Loop:
    """A source of updates that asks `client` for one update after the other."""

    def __init__(self, work: Work, client: Client) -> None:
        self.work, self.client = work, client
        self.count, self.size = len(work.data.sizes), work.network.size

    def reduce(self, clip_norm: float) -> tuple[PerClient, Vector]:
        norms = self.work.params.new_zeros(self.count)
        total = self.work.params.new_zeros(self.size)
        with kept():
            for position, update in enumerate(self._updates()):
                norms[position] = norm = norm_of(update)
                if norm.isfinite():
                    total += clip_factors(norm, clip_norm) * update  # u ← u · min(1, L / ‖u‖)
        return norms, total

    def rows(self) -> Matrix:
        matrix = self.work.params.new_empty(self.count, self.size)
        with kept():
            for row, update in zip(matrix, self._updates(), strict=True):
                row.copy_(update)
        return matrix

    def _updates(self) -> Iterator[Vector]:
        """One client after the other; what it draws depends on seed, round and client alone."""
        work, start = self.work, 0
        for position, size in enumerate(work.data.sizes.tolist()):
            reseed(work.seed, Stream.TRAINING, work.round, int(work.data.clients[position]))
            yield self.client(work, position, slice(start, start + size))
            start += size

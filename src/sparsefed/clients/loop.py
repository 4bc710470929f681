"""The literal loop: one client after the other, as in the pseudo-code; the reference of faster engines."""

from collections.abc import Callable, Iterator

import torch

from sparsefed.clients.base import Work
from sparsefed.core.types import Matrix, PerClient, Vector
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
        for position, update in enumerate(self):
            norms[position] = norm = torch.linalg.vector_norm(update)
            if norm.isfinite():
                total += clip_factors(norm, clip_norm) * update  # u ← u · min(1, L / ‖u‖)
        return norms, total

    def rows(self) -> Matrix:
        matrix = self.work.params.new_empty(self.count, self.size)
        for row, update in zip(matrix, self, strict=True):
            row.copy_(update)
        return matrix

    def __iter__(self) -> Iterator[Vector]:
        start = 0
        for position, size in enumerate(self.work.data.sizes.tolist()):
            with self.work.chances_of(position):
                update = self.client(self.work, position, slice(start, start + size))
            yield update
            start += size

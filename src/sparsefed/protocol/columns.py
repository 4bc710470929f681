"""Updates whose matrix lies on several processes, each of which has some columns of all rows."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsefed.core.ranks import BLOCKS, Ranks, cut, in_order
from sparsefed.core.types import Matrix, PerClient, Vector
from sparsefed.kernels import squared_distances, weighted_sum, with_norm
from sparsefed.protocol.aside import NOTHING, Aside
from sparsefed.protocol.claims import read_weights
from sparsefed.protocol.report import Roll
from sparsefed.protocol.updates import Dense

__all__ = ["Columns"]


class Columns(Dense):
    """As `Dense`; a rule that asks for `rows()` or `matrix` gets the whole matrix, on every process."""

    def __init__(  # noqa: PLR0917
        self,
        ranks: Ranks,
        blocks: Sequence[Tensor],
        size: int,
        raw_norms: PerClient,
        factors: PerClient | None = None,
        roll: Roll | None = None,
        *,
        aside: Aside = NOTHING,
    ) -> None:
        self.ranks, self.blocks, self.size, self.factors = ranks, list(blocks), size, factors
        self.count, self.weights, self.aside = len(self.blocks[0]), None, aside
        self.roll = roll or Roll(range(self.count), np.arange(self.count), None, {})
        self._raw_norms = raw_norms

    @property
    def dtype(self) -> torch.dtype:
        return self.blocks[0].dtype

    @cached_property
    def matrix(self) -> Matrix:
        return self._gathered([block.T for block in self.blocks]).T.contiguous()

    def columnwise(self, reduce: Callable[[Matrix], Vector]) -> Vector:
        return self._gathered([reduce(block) for block in self.blocks])

    def columns(self, places: np.ndarray) -> Matrix:
        wanted = torch.from_numpy(places)
        owner = torch.bucketize(wanted, torch.tensor([piece.stop for piece in self._cuts]), right=True)
        parts = [
            block[:, wanted[owner == c] - self._cuts[c].start].T
            for c, block in zip(self.ranks.blocks(), self.blocks, strict=True)
        ]
        ends = torch.bincount(owner, minlength=BLOCKS).cumsum(0).tolist()
        bounds = [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        return self.ranks.gathered(parts, bounds).T

    def row(self, client: int) -> Vector:
        return self._gathered([block[client] for block in self.blocks])

    def stacked(self, other: Dense, raw_norms: PerClient) -> "Columns":
        mine = other.rows()
        both = [
            torch.cat([block if self.factors is None else block * self.factors.to(block)[:, None], part])
            for block, part in zip(
                self.blocks, (mine[:, self._cuts[c]] for c in self.ranks.blocks()), strict=True
            )
        ]
        return Columns(self.ranks, both, self.size, raw_norms)

    def _only(self, keep: Tensor) -> "Columns":
        chosen = keep.cpu().numpy()
        return Columns(
            self.ranks,
            [block[keep] for block in self.blocks],
            self.size,
            self._raw_norms[keep],
            None if self.factors is None else self.factors[keep],
            self.roll.only(chosen, self.norms()),
            aside=self.aside.only(chosen),
        )

    def _scaled(self, factors: PerClient, raw: PerClient, extreme: Tensor, clip_norm: float) -> "Columns":
        blocks = self.blocks
        for client in extreme.nonzero()[:, 0].tolist():
            blocks = [block.clone() for block in blocks] if blocks is self.blocks else blocks
            short = with_norm(self.row(client), clip_norm)
            for c, block in zip(self.ranks.blocks(), blocks, strict=True):
                block[client] = short[self._cuts[c]]
        norms = self.norms()
        roll = self.roll._replace(sent=norms if self.roll.sent is None else self.roll.sent)
        return Columns(self.ranks, blocks, self.size, raw, factors, roll, aside=self.aside)

    def sum(self) -> Vector:
        return self._weighted_sum(torch.ones(self.count, dtype=torch.float64))

    def weighted_sum(self, weights: Any) -> Vector:
        return self._weighted_sum(read_weights(weights, self.count))

    def _weighted_sum(self, weights: PerClient) -> Vector:
        weights = weights.to(self.blocks[0].device)
        weights = weights if self.factors is None else weights * self.factors.to(weights)
        return self.columnwise(lambda block: weighted_sum(weights, block))

    @cached_property
    def _squared_distances(self) -> Tensor:
        parts = [squared_distances(block, self.factors)[None] for block in self.blocks]
        each = self.ranks.gathered(parts, [slice(block, block + 1) for block in range(BLOCKS)])
        return in_order(each).clamp(max=torch.finfo(torch.float64).max)

    @cached_property
    def _cuts(self) -> list[slice]:
        return cut(self.size)

    def _gathered(self, parts: list[Tensor]) -> Tensor:
        return self.ranks.gathered(parts, self._cuts)

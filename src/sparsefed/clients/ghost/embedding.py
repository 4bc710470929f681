"""An embedding: a linear layer on one-hot tokens, whose gradient has a row per token that occurs."""

import torch
from torch import Tensor, nn

from sparsefed.clients.ghost.base import Layer, Outer, Rows, Sums
from sparsefed.core.types import PerClient

__all__ = ["EmbeddingLayer"]


class EmbeddingLayer(Layer):
    """Rows of the same client and token are summed first; ‖gᵢ‖² is then that of what is left."""

    def measure(self, dy: Tensor) -> PerClient:
        self.dy = self._counted(dy)
        words = self.module.num_embeddings
        tokens = self.x.reshape(self.clients, -1)
        cells = tokens + words * torch.arange(self.clients, device=tokens.device)[:, None]
        cells, place = cells.flatten().unique(return_inverse=True)
        rows = self.dy.new_zeros(len(cells), dy.shape[-1])
        add_rows(rows, place, self.dy.flatten(0, 1))
        squares = rows.square().sum(1)
        norms = squares.new_zeros(self.clients)
        add_rows(norms, cells // words, squares)
        return norms

    def add(self, factors: PerClient, sums: Sums) -> None:
        scaled = (self.dy * factors[:, None, None]).flatten(0, 1)
        add_rows(sums[self.module.weight], self.x.flatten(), scaled)

    def write(self, dy: Tensor, rows: Rows) -> None:
        tokens, counted = self.x.reshape(self.clients, -1), self._counted(dy)
        if not rows.keeps(self.module.weight):
            rows.views[self.module.weight].zero_()
        for row, places, part in zip(rows.views[self.module.weight], tokens, counted, strict=True):
            add_rows(row, places, part)

    def inner(self, dy: Tensor) -> PerClient:
        return (self._counted(dy) * self.module.weight[self.x.reshape(self.clients, -1)]).sum((1, 2))

    def outer(self, parameter: nn.Parameter) -> Outer:
        return Outer(self.x.reshape(self.clients, -1), self.dy)

    def _counted(self, dy: Tensor) -> Tensor:
        """The gradient per client, without the padding token, which gets no gradient."""
        padding = self.module.padding_idx
        return self.per_client(dy if padding is None else dy * (self.x != padding)[..., None])


def add_rows(target: Tensor, places: Tensor, rows: Tensor) -> None:
    """Add each row at its place, in an order that is always the same: each device has one such way."""
    if target.is_cuda:
        target.index_put_((places,), rows, accumulate=True)
    else:
        target.index_add_(0, places, rows)

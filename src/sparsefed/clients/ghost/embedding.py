"""An embedding: a linear layer on one-hot tokens, whose gradient has a row per token that occurs."""

import torch
from torch import Tensor, nn

from sparsefed.clients.ghost.base import Layer, Rows, Shared, Sums, UnsupportedError, Words
from sparsefed.core.types import PerClient
from sparsefed.kernels import add_at

__all__ = ["EmbeddingLayer", "rows_of_words"]


class EmbeddingLayer(Layer):
    """Rows of the same client and token are summed first; ‖gᵢ‖² is then that of what is left."""

    def __init__(self, module: nn.Embedding, x: Tensor, clients: int) -> None:
        super().__init__(module, x, clients)
        if module.max_norm is not None or module.scale_grad_by_freq or module.sparse:
            raise UnsupportedError("Embedding has settings that the engine does not know")

    def measure(self, dy: Tensor) -> PerClient:
        self.dy = self._counted(dy)
        owners, rows = rows_of_words(self.x.reshape(self.clients, -1), self.dy)
        norms = rows.new_zeros(self.clients)
        add_at(norms, owners, rows.square().sum(1))
        return norms

    def add(self, factors: PerClient, sums: Sums) -> None:
        scaled = (self.dy * factors[:, None, None]).flatten(0, 1)
        add_at(sums[self.module.weight], self.x.flatten(), scaled)

    def write(self, dy: Tensor, rows: Rows) -> None:
        tokens, counted = self.x.reshape(self.clients, -1), self._counted(dy)
        if not rows.keeps(self.module.weight):
            rows.views[self.module.weight].zero_()
        for row, places, part in zip(rows.views[self.module.weight], tokens, counted, strict=True):
            add_at(row, places, part)

    def inner(self, dy: Tensor) -> PerClient:
        return (self._counted(dy) * self.module.weight[self.x.reshape(self.clients, -1)]).sum((1, 2))

    def shared(self, parameter: nn.Parameter) -> Shared:
        return Words(self.x.reshape(self.clients, -1), self.dy)

    def _counted(self, dy: Tensor) -> Tensor:
        """The gradient per client, without the padding token, which gets no gradient."""
        padding = self.module.padding_idx
        return self.per_client(dy if padding is None else dy * (self.x != padding)[..., None])


def rows_of_words(words: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of equal words of a client summed: the client of each sum, and the sums.

    `words` are integers `[clients, positions]`, `rows` are `[clients, positions, width]`; as much work as
    there are positions.
    """
    span = int(words.max()) + 1 if words.numel() else 1
    cells = words + span * torch.arange(len(words), device=words.device)[:, None]
    cells, place = cells.flatten().unique(return_inverse=True)
    sums = rows.new_zeros(len(cells), rows.shape[-1])
    add_at(sums, place, rows.flatten(0, 1))
    return cells // span, sums

"""A linear layer: gᵢ = Σₜ dyₜ xₜᵀ over all rows t of client i, whatever the axes between."""

from torch import Tensor

from sparsefed.clients.ghost.base import Gradients, Layer, squared_norms
from sparsefed.types import PerClient

__all__ = ["LinearLayer"]


class LinearLayer(Layer):
    """‖gᵢ‖² = Σₛₜ (xₛ·xₜ + 1)(dyₛ·dyₜ), the 1 for the bias, where that is less work than gᵢ itself."""

    kept: Tensor | None = None

    def measure(self, dy: Tensor) -> PerClient:
        x, self.dy = self._per_client(self.x), self._per_client(dy)
        rows, fan_in, units = x.shape[1], x.shape[2], self.dy.shape[2]
        if rows * (fan_in + units) > fan_in * units:
            self.kept = self.dy.mT @ x
            squares = squared_norms(self.kept)
            return squares if self.module.bias is None else squares + squared_norms(self.dy.sum(1))
        grams = x @ x.mT
        if self.module.bias is not None:
            grams += 1.0
        return (grams * (self.dy @ self.dy.mT)).sum((1, 2))

    def add(self, factors: PerClient, sums: Gradients) -> None:
        scaled = self.dy * factors[:, None, None]
        if self.kept is not None:
            sums[self.module.weight].view(-1).addmv_(self.kept.flatten(1).T, factors)
        else:
            sums[self.module.weight].addmm_(scaled.flatten(0, 1).T, self._per_client(self.x).flatten(0, 1))
        if self.module.bias is not None:
            sums[self.module.bias] += scaled.sum((0, 1))

    def write(self, dy: Tensor, rows: Gradients) -> None:
        x, dy = self._per_client(self.x), self._per_client(dy)
        rows[self.module.weight].baddbmm_(dy.mT, x, beta=0)
        if self.module.bias is not None:
            rows[self.module.bias].copy_(dy.sum(1))

    def _per_client(self, tensor: Tensor) -> Tensor:
        return tensor.reshape(self.clients, -1, tensor.shape[-1])

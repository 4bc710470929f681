"""A linear layer: gᵢ = Σₜ dyₜ xₜᵀ over all rows t of client i, whatever the axes between."""

import torch
from torch import Tensor, nn

from sparsefed.clients.ghost.base import Layer, Outer, Rows, Sums, pair_sums, squared_norms
from sparsefed.core.types import PerClient

__all__ = ["LinearLayer", "add_outer"]


class LinearLayer(Layer):
    """‖gᵢ‖² = Σₛₜ (xₛ·xₜ + 1)(dyₛ·dyₜ), the 1 for the bias, where that is less work than gᵢ itself."""

    kept: Tensor | None = None

    def measure(self, dy: Tensor) -> PerClient:
        self.x, self.dy = x, dy = self.per_client(self.x), self.per_client(dy)
        rows, fan_in, units = x.shape[1], x.shape[2], dy.shape[2]
        if rows * (fan_in + units) > fan_in * units:
            self.kept = torch.bmm(dy.mT, x)
            squares = squared_norms(self.kept)
            return squares if self.module.bias is None else squares + squared_norms(dy.sum(1))
        grams = torch.bmm(x, x.mT)
        if self.module.bias is not None:
            grams += 1.0
        return pair_sums(grams, torch.bmm(dy, dy.mT))

    def add(self, factors: PerClient, sums: Sums) -> None:
        weight, bias = self.module.weight, self.module.bias
        if self.kept is not None:
            sums[weight].view(-1).addmv_(self.kept.flatten(1).T, factors)
        else:
            add_outer(sums[weight], self.dy, self.x, factors)
        if bias is not None:
            sums[bias] += factors @ self.dy.sum(1)

    def write(self, dy: Tensor, rows: Rows) -> None:
        x, dy = self.per_client(self.x), self.per_client(dy)
        weight, bias = self.module.weight, self.module.bias
        rows.views[weight].baddbmm_(dy.mT, x, beta=rows.keeps(weight))
        if bias is not None:
            rows.put(bias, dy.sum(1))

    def outer(self, parameter: nn.Parameter) -> Outer:
        return Outer(self.dy, self.x if parameter is self.module.weight else torch.ones_like(self.x[..., :1]))


def add_outer(total: Tensor, dy: Tensor, x: Tensor, factors: PerClient) -> None:
    """Add Σᵢ factorᵢ Σₜ dyₜ xₜᵀ; the narrower of dy and x is scaled."""
    factors = factors[:, None, None]
    dy, x = (dy * factors, x) if dy.shape[2] <= x.shape[2] else (dy, x * factors)
    total.addmm_(dy.flatten(0, 1).T, x.flatten(0, 1))

"""A sum of linear maps z = Σⱼ Wⱼ xⱼ + Σⱼ bⱼ: client i's gradient of Wⱼ is Σₜ dzₜ ⊗ xⱼₜ over its rows t.

‖gᵢ‖² = Σₛₜ (dzₛ·dzₜ)(Σⱼ xⱼₛ·xⱼₜ + biases) needs rows² products; forming gᵢ needs rows · |W|. The cheaper
is taken, so a client's cost grows with its rows, never with their square beyond that.
"""

from typing import Any

import torch
from torch import Tensor, nn

from sparsefed.clients.ghost.base import Layer, Outer, Rows, Shared, Sums, inner_products, squared_norms
from sparsefed.core.types import PerClient

__all__ = ["Affine", "form", "pairs_are_cheaper", "squares_by_pairs"]


class Affine(Layer):
    """One tensor z of a module, with the inputs of the weights that are summed up in it."""

    formed: list[Tensor] | None = None
    """Every client's gradient of each weight, `[clients, units, fan_in]`, where it was formed."""

    def __init__(
        self, module: Any, x: Tensor, clients: int, weights: list[nn.Parameter], biases: list[nn.Parameter]
    ) -> None:
        super().__init__(module, x, clients)
        self.weights, self.biases = weights, biases
        self.inputs = [self.x]
        """What each weight multiplies; whoever makes a layer of two weights adds the second."""

    def parameters(self) -> list[nn.Parameter]:
        return [*self.weights, *self.biases]

    def measure(self, dy: Tensor) -> PerClient:
        self.inputs = [self.per_client(x) for x in self.inputs]
        self.dz = dz = self.per_client(dy)
        self.dz_sum = dz.sum(1)
        if pairs_are_cheaper(dz.shape[1], sum(x.shape[2] for x in self.inputs), dz.shape[2]):
            return squares_by_pairs(dz, self.inputs, len(self.biases))
        self.formed = [form(dz, x) for x in self.inputs]
        del self.x, self.dz, self.inputs  # as large as the pass, and not needed again
        squares = [squared_norms(gradient) for gradient in self.formed]
        return torch.stack([*squares, len(self.biases) * squared_norms(self.dz_sum)]).sum(0)

    def add(self, factors: PerClient, sums: Sums) -> None:
        for place, weight in enumerate(self.weights):
            if self.formed is not None:
                sums[weight].view(-1).addmv_(self.formed[place].flatten(1).T, factors)
            else:
                _add_scaled(sums[weight], self.dz, self.inputs[place], factors)
        for bias in self.biases:
            sums[bias] += factors @ self.dz_sum

    def write(self, dy: Tensor, rows: Rows) -> None:
        dz = self.per_client(dy)
        for weight, x in zip(self.weights, self.inputs, strict=True):
            rows.views[weight].baddbmm_(dz.mT, self.per_client(x), beta=rows.keeps(weight))
        for bias in self.biases:
            rows.put(bias, dz.sum(1))

    def inner(self, dy: Tensor) -> PerClient:
        z = [x @ weight.T for weight, x in zip(self.weights, self.inputs, strict=True)]
        products = dy * torch.stack([*z, *(bias.expand_as(z[0]) for bias in self.biases)]).sum(0)
        return products.sum(tuple(range(1, dy.ndim))).view(self.clients, -1).sum(1)

    def shared(self, parameter: nn.Parameter) -> Shared:
        if any(parameter is bias for bias in self.biases):
            return self.dz_sum[..., None]
        place = next(place for place, weight in enumerate(self.weights) if weight is parameter)
        if self.formed is not None:
            return self.formed[place]
        return Outer(self.dz, self.inputs[place])


def pairs_are_cheaper(rows: int, fan_in: int, units: int) -> bool:
    """Whether all pairs of a client's rows are less work than its gradient `[units, fan_in]`."""
    return rows * (fan_in + units) < fan_in * units


def squares_by_pairs(dz: Tensor, xs: list[Tensor], biases: int = 0) -> PerClient:
    """‖gᵢ‖² over all weights and biases from Gram matrices; dz and every x are `[clients, rows, ·]`."""
    grams = torch.bmm(xs[0], xs[0].mT)
    for x in xs[1:]:
        grams.baddbmm_(x, x.mT)
    if biases:
        grams += float(biases)
    return inner_products(grams, torch.bmm(dz, dz.mT))


def form(dz: Tensor, x: Tensor) -> Tensor:
    """Every client's Σₜ dzₜ ⊗ xₜ, `[clients, units, fan_in]`."""
    return torch.bmm(dz.mT, x)


def _add_scaled(total: Tensor, dz: Tensor, x: Tensor, factors: PerClient) -> None:
    """Add Σᵢ factorᵢ Σₜ dzₜ xₜᵀ; the narrower of dz and x is scaled."""
    factors = factors[:, None, None]
    dz, x = (dz * factors, x) if dz.shape[2] <= x.shape[2] else (dz, x * factors)
    total.addmm_(dz.flatten(0, 1).T, x.flatten(0, 1))

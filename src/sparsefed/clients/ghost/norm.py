"""Layer normalization: gᵢ = Σₜ dyₜ·x̂ₜ and Σₜ dyₜ, elementwise, so small that they are kept."""

from torch import Tensor
from torch.nn import functional

from sparsefed.clients.ghost.base import Layer, Rows, Sums, squared_norms
from sparsefed.core.types import PerClient

__all__ = ["LayerNormLayer"]


class LayerNormLayer(Layer):
    """Any `normalized_shape`, with or without bias; all axes before it are rows."""

    def measure(self, dy: Tensor) -> PerClient:
        self.kept = self._gradients(dy)
        del self.x
        return sum((squared_norms(gradient) for gradient in self.kept), dy.new_zeros(self.clients))

    def add(self, factors: PerClient, sums: Sums) -> None:
        for parameter, gradient in zip(self.parameters(), self.kept, strict=True):
            sums[parameter].view(-1).addmv_(gradient.flatten(1).T, factors)

    def write(self, dy: Tensor, rows: Rows) -> None:
        for parameter, gradient in zip(self.parameters(), self._gradients(dy), strict=True):
            rows.put(parameter, gradient)

    def _gradients(self, dy: Tensor) -> list[Tensor]:
        """Every client's gradients of weight and, if there is one, bias."""
        shape = self.module.normalized_shape
        normal = functional.layer_norm(self.x, shape, eps=self.module.eps)
        products = [dy * normal, dy][: len(self.parameters())]
        return [product.reshape(self.clients, -1, *shape).sum(1) for product in products]

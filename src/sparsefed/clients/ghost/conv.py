"""A convolution: a linear layer on patches, gᵢ = Σₜ patchₜ ⊗ dyₜ over all output pixels t of client i."""

from torch import Tensor, nn

from sparsefed.clients.ghost.base import Layer, Rows, Sums, squared_norms
from sparsefed.clients.ghost.patches import direct_sums, geometry_of, gram_products, weight_gradient
from sparsefed.core.types import PerClient

__all__ = ["ConvLayer"]


class ConvLayer(Layer):
    """Deep layers have few pixels and are measured by Gram matrices; shallow ones keep gᵢ itself."""

    kept: Tensor | None = None
    """`[clients, taps, units]`, the last tap that of the bias if there is one."""

    def __init__(self, module: nn.Conv2d, x: Tensor, clients: int) -> None:
        super().__init__(module, x, clients)
        self.geometry = geometry_of(module)

    def measure(self, dy: Tensor) -> PerClient:
        if self._gram_is_cheaper(dy):
            self.dy = dy
            return gram_products(self.geometry, self.x, dy, self.clients)
        self.kept = direct_sums(self.geometry, self.x, dy, self.clients)
        del self.x  # x and dy are the largest tensors of the pass, and not needed again
        return squared_norms(self.kept)

    def add(self, factors: PerClient, sums: Sums) -> None:
        if self.kept is not None:
            summed = self._shaped((factors @ self.kept.flatten(1)).view(self.kept.shape[1:]))
        else:
            each = factors.repeat_interleave(len(self.dy) // self.clients)[:, None, None, None]
            summed = weight_gradient(self.module, self.geometry, self.x, self.dy * each)
        for parameter, gradient in zip(self.parameters(), summed, strict=True):
            sums[parameter] += gradient

    def write(self, dy: Tensor, rows: Rows) -> None:
        kept = direct_sums(self.geometry, self.x, dy, self.clients)
        for parameter, gradients in zip(self.parameters(), self._shaped(kept), strict=True):
            rows.put(parameter, gradients)

    def _gram_is_cheaper(self, dy: Tensor) -> bool:
        """T²(Ci + Co + 4·offsets) for the Gram matrices, T output pixels, against T·Ci·Co·offsets."""
        weight = self.module.weight
        pixels = dy[0, 0].numel() * len(dy) // self.clients
        gram = pixels * (weight.shape[1] + weight.shape[0] + 4 * weight[0, 0].numel())
        return gram < 0.6 * weight.numel()

    def _shaped(self, taps: Tensor) -> list[Tensor]:
        """`[..., taps, units]` as gradients of weight and bias."""
        channels, height, width = self.module.weight.shape[1:]
        inner = taps[..., : height * width * channels, :].unflatten(-2, (height, width, channels))
        weight = inner.movedim((-1, -2), (-4, -3))
        return [weight] if self.module.bias is None else [weight, taps[..., -1, :]]

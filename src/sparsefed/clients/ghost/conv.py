"""A convolution: a linear layer on patches, gᵢ = Σₜ patchₜ ⊗ dyₜ over all output pixels t of client i.

In one dimension the images have a single row. Each group of channels is a convolution of its own. A
transposed convolution has the gradient of the convolution that leads from its output back to its input.
"""

from typing import Any

from torch import Tensor, nn

from sparsefed.clients.ghost.base import Layer, Rows, Shared, Sums, squared_norms
from sparsefed.clients.ghost.patches import depthwise_sums, direct_sums, gram_products, weight_gradient
from sparsefed.clients.ghost.places import Places, as_images, per_group
from sparsefed.core.types import PerClient

__all__ = ["ConvLayer", "TransposedConvLayer", "pixel_pairs_are_cheaper"]


class ConvLayer(Layer):
    """Deep layers have few pixels and are measured by Gram matrices; shallow ones keep gᵢ itself."""

    kept: Tensor | None = None
    """`[clients, groups, taps, units]`, the last tap that of the bias if there is one."""

    def __init__(self, module: Any, x: Tensor, clients: int) -> None:
        super().__init__(module, x, clients)
        self.places = Places.of(module)
        self.weight = as_images(module.weight.detach())

    def measure(self, dy: Tensor) -> PerClient:
        images, gradients = self.operands(dy)
        groups = self.module.groups
        units, (channels, *kernel) = len(self.weight) // groups, self.weight.shape[1:]
        pixels = gradients[0, 0].numel() * len(gradients) // self.clients
        if not pixel_pairs_are_cheaper(pixels, units, channels, kernel[0] * kernel[1]):
            self.kept = self._formed(images, gradients)
            del self.x  # x and dy are the largest tensors of the pass, and not needed again
            return squared_norms(self.kept)
        self.images, self.gradients = images, gradients
        images, gradients = (per_group(part, self.clients, groups) for part in (images, gradients))
        squares = gram_products(self.places.geometry, images, gradients, self.clients * groups)
        return squares.view(-1, groups).sum(1)

    def add(self, factors: PerClient, sums: Sums) -> None:
        if self.kept is not None:
            summed = self._shaped((factors @ self.kept.flatten(1)).view(self.kept.shape[1:]))
        else:
            each = factors.repeat_interleave(len(self.gradients) // self.clients)[:, None, None, None]
            geometry, groups = self.places.geometry, self.module.groups
            summed = weight_gradient(self.weight, geometry, groups, self.images, self.gradients * each)
        for parameter, gradient in zip(self.parameters(), summed, strict=False):
            sums[parameter] += gradient.reshape(parameter.shape)

    def write(self, dy: Tensor, rows: Rows) -> None:
        formed = self._shaped(self._formed(*self.operands(dy)))
        for parameter, gradients in zip(self.parameters(), formed, strict=False):
            rows.put(parameter, gradients.reshape(self.clients, *parameter.shape))

    def shared(self, parameter: nn.Parameter) -> Shared:
        kept = self._formed(self.images, self.gradients) if self.kept is None else self.kept
        place = next(place for place, own in enumerate(self.parameters()) if own is parameter)
        return self._shaped(kept)[place].flatten(1)[..., None]

    def operands(self, dy: Tensor) -> tuple[Tensor, Tensor]:
        """The images whose patches are multiplied, and with what."""
        return self.places.padded(as_images(self.x)), as_images(dy)

    def _formed(self, images: Tensor, gradients: Tensor) -> Tensor:
        groups = self.module.groups
        if groups > 1 and self.weight.shape[1] == 1:
            return depthwise_sums(self.places.geometry, images, gradients, self.clients)
        images, gradients = (per_group(part, self.clients, groups) for part in (images, gradients))
        sums = direct_sums(self.places.geometry, images, gradients, self.clients * groups)
        return sums.unflatten(0, (-1, groups))

    def _shaped(self, taps: Tensor) -> list[Tensor]:
        """`[..., groups, taps, units]` as gradients of weight and bias."""
        channels, height, width = self.weight.shape[1:]
        inner = taps[..., : height * width * channels, :].unflatten(-2, (height, width, channels))
        weight = inner.movedim((-1, -2), (-4, -3)).flatten(-5, -4)
        return [weight, taps[..., -1, :].flatten(-2)] if self.places.geometry.bias else [weight]


class TransposedConvLayer(ConvLayer):
    """The bias stands outside of the convolution that leads back."""

    def measure(self, dy: Tensor) -> PerClient:
        squares = super().measure(dy)
        if self.module.bias is None:
            return squares
        self.bias_kept = self._bias_gradients(dy)
        return squares + squared_norms(self.bias_kept)

    def add(self, factors: PerClient, sums: Sums) -> None:
        super().add(factors, sums)
        if self.module.bias is not None:
            sums[self.module.bias] += factors @ self.bias_kept

    def write(self, dy: Tensor, rows: Rows) -> None:
        super().write(dy, rows)
        if self.module.bias is not None:
            rows.put(self.module.bias, self._bias_gradients(dy))

    def shared(self, parameter: nn.Parameter) -> Shared:
        return self.bias_kept[..., None] if parameter is self.module.bias else super().shared(parameter)

    def operands(self, dy: Tensor) -> tuple[Tensor, Tensor]:
        return as_images(dy), as_images(self.x)

    def _bias_gradients(self, dy: Tensor) -> Tensor:
        return dy.flatten(2).sum(2).unflatten(0, (self.clients, -1)).sum(1)


def pixel_pairs_are_cheaper(pixels: int, units: int, channels: int, offsets: int) -> bool:
    """T²(Ci + Co + 4·offsets) for the Gram matrices, T output pixels, against T·Ci·Co·offsets."""
    return pixels * (channels + units + 4 * offsets) < 0.6 * units * channels * offsets

"""A convolution: a linear layer on patches, whose inner products come from those of the pixels."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from sparsefed.clients.ghost.base import Layer, Rows, Sums, pair_sums, squared_norms
from sparsefed.types import PerClient

__all__ = ["ConvLayer"]


class ConvLayer(Layer):
    """Deep layers have few pixels and are measured by Gram matrices; shallow ones keep gᵢ itself."""

    kept: list[Tensor] | None = None

    def measure(self, dy: Tensor) -> PerClient:
        self.dy = dy
        if self._gram_is_cheaper():
            grams = patch_grams(self.module, self.x, dy, self.clients)
            if self.module.bias is not None:
                grams += 1.0
            return pair_sums(grams, pixel_grams(dy, self.clients))
        weights, biases = zip(*self._each(dy), strict=True)
        self.kept = [torch.stack([self._in_memory_order(weight) for weight in weights]).flatten(1)]
        if self.module.bias is not None:
            self.kept.append(torch.stack(biases))
        del self.dy, self.x  # the largest tensors of the pass, not needed again
        return torch.stack([squared_norms(gradients) for gradients in self.kept]).sum(0)

    def add(self, factors: PerClient, sums: Sums) -> None:
        if self.kept is not None:
            for parameter, gradients in zip(self.parameters(), self.kept, strict=True):
                self._in_memory_order(sums[parameter]).view(-1).addmv_(gradients.T, factors)
            return
        each = factors.repeat_interleave(len(self.dy) // self.clients)
        summed = gradients_of(self.module, self.x, self.dy * each[:, None, None, None])
        for parameter, gradient in zip(self.parameters(), summed, strict=False):
            sums[parameter] += gradient

    def write(self, dy: Tensor, rows: Rows) -> None:
        for parameter, gradients in zip(self.parameters(), zip(*self._each(dy), strict=True), strict=False):
            rows.put(parameter, torch.stack(gradients))

    def _in_memory_order(self, gradient: Tensor) -> Tensor:
        """A gradient with its axes in the order of the weight's memory, so that no layout is turned over."""
        last = gradient.ndim == 4 and not self.module.weight.is_contiguous()
        return gradient.permute(0, 2, 3, 1) if last else gradient

    def _gram_is_cheaper(self) -> bool:
        weight = self.module.weight
        pixels = self.dy[0, 0].numel() * len(self.dy) // self.clients
        offsets = weight[0, 0].numel()
        gram = pixels * (weight.shape[1] + weight.shape[0] + 4 * offsets)
        return gram < 0.6 * weight.numel()

    def _each(self, dy: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Every client's own gradients of weight and bias."""
        for x, part in zip(self.x.chunk(self.clients), dy.chunk(self.clients), strict=True):
            yield gradients_of(self.module, x, part)


def gradients_of(module: nn.Conv2d, x: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of weight and bias; the weight's in the weight's own memory format."""
    sizes = None if module.bias is None else list(module.bias.shape)
    geometry = (module.stride, padding_of(module), module.dilation, False, (0, 0), 1)
    mask = (False, True, module.bias is not None)
    return torch.ops.aten.convolution_backward(dy, x, module.weight, sizes, *geometry, mask)[1:]


def padding_of(module: nn.Conv2d) -> tuple[int, ...]:
    """Zeros added on every side; PyTorch's "same" with an even kernel is asymmetric and not ours."""
    if module.padding == "valid":
        return (0, 0)
    if module.padding == "same":
        return tuple(d * (k - 1) // 2 for d, k in zip(module.dilation, module.kernel_size, strict=True))
    return module.padding  # pyright: ignore[reportReturnType]


def pixel_grams(images: Tensor, clients: int) -> Tensor:
    """Inner products over channels of all pairs of a client's pixels, `[clients, pixels, pixels]`."""
    pixels = images.permute(0, 2, 3, 1).reshape(clients, -1, images.shape[1])
    return pixels @ pixels.mT


def patch_grams(module: nn.Conv2d, x: Tensor, y: Tensor, clients: int) -> Tensor:
    """Inner products of all pairs of a client's patches: the pixels', added up over the kernel's offsets."""
    images, (height, width), (rows, columns) = len(x) // clients, x.shape[2:], y.shape[2:]
    pixels = pixel_grams(x, clients).view(clients, images, height, width, images, height, width)
    total = pixels.new_zeros(clients, images, rows, columns, images, rows, columns)
    ups = _shifts(module, 0, height, rows)
    downs = _shifts(module, 1, width, columns)
    for up_to, up_from in ups:
        for to, source in downs:
            total[:, :, up_to, to, :, up_to, to] += pixels[:, :, up_from, source, :, up_from, source]
    return total.view(clients, images * rows * columns, -1)


def _shifts(module: nn.Conv2d, axis: int, size: int, outputs: int) -> list[tuple[slice, slice]]:
    """For each offset of the kernel along an axis: the outputs that see a pixel, and the pixels they see."""
    stride, dilation = module.stride[axis], module.dilation[axis]
    pairs = []
    for tap in range(module.kernel_size[axis]):
        offset = tap * dilation - padding_of(module)[axis]
        first = max(0, -(offset // stride))  # least output o with o·stride + offset ≥ 0
        last = min(outputs - 1, (size - 1 - offset) // stride)
        if first <= last:
            start = first * stride + offset
            pairs.append((slice(first, last + 1), slice(start, last * stride + offset + 1, stride)))
    return pairs

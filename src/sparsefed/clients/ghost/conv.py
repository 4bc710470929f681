"""A convolution: a linear layer on patches, whose inner products come from those of the pixels."""

import torch
from torch import Tensor, nn

from sparsefed.clients.ghost.base import Gradients, Layer, squared_norms
from sparsefed.types import PerClient

__all__ = ["ConvLayer"]


class ConvLayer(Layer):
    """Deep layers have few pixels and are measured by Gram matrices; shallow ones keep gᵢ itself."""

    kept: Tensor | None = None

    def measure(self, dy: Tensor) -> PerClient:
        self.dy = dy
        bias = self.module.bias is not None
        if self._gram_is_cheaper():
            grams = patch_grams(self.module, self.x, dy, self.clients)
            outer = pixel_grams(dy, self.clients)
            return ((grams + 1.0 if bias else grams) * outer).sum((1, 2))
        self.kept = torch.stack([weight_gradient(self.module, x, part) for x, part in self._slices()])
        squares = squared_norms(self.kept)
        return squares + squared_norms(self._bias()) if bias else squares

    def add(self, factors: PerClient, sums: Gradients) -> None:
        total = sums[self.module.weight]
        if self.kept is not None:
            total += torch.tensordot(factors, self.kept, 1)
        else:
            scaled = self.dy * factors.repeat_interleave(len(self.dy) // self.clients)[:, None, None, None]
            total += weight_gradient(self.module, self.x, scaled)
        if self.module.bias is not None:
            sums[self.module.bias] += factors @ self._bias()

    def write(self, dy: Tensor, rows: Gradients) -> None:
        self.dy = dy
        for row, (x, part) in zip(rows[self.module.weight], self._slices(), strict=True):
            row.copy_(weight_gradient(self.module, x, part))
        if self.module.bias is not None:
            rows[self.module.bias].copy_(self._bias())

    def _gram_is_cheaper(self) -> bool:
        weight = self.module.weight
        pixels = self.dy[0, 0].numel() * len(self.dy) // self.clients
        offsets = weight[0, 0].numel()
        gram = pixels * (weight.shape[1] + weight.shape[0] + 4 * offsets)
        return gram < 0.6 * weight.numel()

    def _slices(self) -> list[tuple[Tensor, Tensor]]:
        return list(zip(self.x.chunk(self.clients), self.dy.chunk(self.clients), strict=True))

    def _bias(self) -> Tensor:
        return self.dy.sum((2, 3)).view(self.clients, -1, self.dy.shape[1]).sum(1)


def weight_gradient(module: nn.Conv2d, x: Tensor, dy: Tensor) -> Tensor:
    """Σ over examples and pixels of dy ⊗ patch, in the weight's own memory format."""
    return torch.ops.aten.convolution_backward(
        dy, x, module.weight, None, module.stride, padding_of(module), module.dilation,
        False, (0, 0), 1, (False, True, False),
    )[1]  # fmt: skip


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

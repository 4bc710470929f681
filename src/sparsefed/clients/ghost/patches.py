"""Patches of images under a convolution's kernel: their sums against dy, and their inner products.

Where PyTorch would have to write the patches down, nine times the image for a 3×3 kernel, the compiled
kernels of `sparsefed.kernels.patches` work on the image itself.
"""

import torch
from torch import Tensor
from torch.nn import functional

from sparsefed.clients.ghost.base import inner_products
from sparsefed.core.types import PerClient
from sparsefed.kernels import patches as compiled
from sparsefed.kernels.compiled import runs_compiled
from sparsefed.kernels.patches import Geometry

__all__ = ["depthwise_sums", "direct_sums", "gram_products", "weight_gradient"]


def direct_sums(geometry: Geometry, x: Tensor, dy: Tensor, clients: int) -> Tensor:
    """Every client's Σₜ patchₜ ⊗ dyₜ, `[clients, taps, units]`; with a bias, one more tap that is 1."""
    images, gradients = (_channels_last(tensor, clients) for tensor in (x, dy))
    if _runs_compiled(images, gradients) and compiled.fits(gradients):
        return compiled.direct_sums(geometry, images, gradients)
    return torch.bmm(_patches(geometry, images, gradients).mT, gradients.flatten(1, 3))


def depthwise_sums(geometry: Geometry, x: Tensor, dy: Tensor, clients: int) -> Tensor:
    """As `direct_sums`, for groups of a single channel: `[clients, channels, taps, units / channels]`.

    Tap by tap, as units share nothing.
    """
    (up, left), (down, right), (below, beside) = geometry.padding, geometry.stride, geometry.dilation
    channels, (rows, columns) = x.shape[1], dy.shape[2:]
    padded = functional.pad(x, (left, left, up, up))
    if dy.shape[1] > channels:
        padded = padded.repeat_interleave(dy.shape[1] // channels, 1)
    sums = []
    for i in range(geometry.kernel[0]):
        for j in range(geometry.kernel[1]):
            under = padded[:, :, i * below :: down, j * beside :: right][:, :, :rows, :columns]
            sums.append((under * dy).sum((2, 3)))
    if geometry.bias:
        sums.append(dy.sum((2, 3)))
    per_client = torch.stack(sums, 1).unflatten(0, (clients, -1)).sum(1)  # [clients, taps, units]
    return per_client.unflatten(2, (channels, -1)).transpose(1, 2)


def gram_products(geometry: Geometry, x: Tensor, dy: Tensor, clients: int) -> PerClient:
    """Every client's ‖Σₜ patchₜ ⊗ dyₜ‖² = Σₛₜ (patchₛ·patchₜ)(dyₛ·dyₜ)."""
    images, gradients = (_channels_last(tensor, clients) for tensor in (x, dy))
    outer = _grams(gradients)
    if _runs_compiled(images, gradients):
        return compiled.shifted_products(geometry, _grams(images), outer, images, gradients)
    patches = _patches(geometry, images, gradients)
    return inner_products(torch.bmm(patches, patches.mT), outer)


def weight_gradient(weight: Tensor, geometry: Geometry, groups: int, x: Tensor, dy: Tensor) -> list[Tensor]:
    """The gradients of weight and bias over all examples; the weight's in the weight's own layout."""
    sizes = [len(weight)] if geometry.bias else None
    places = (geometry.stride, geometry.padding, geometry.dilation, False, (0, 0), groups)
    gradients = torch.ops.aten.convolution_backward.default(
        dy, x, weight, sizes, *places, (False, True, geometry.bias)
    )
    return gradients[1:] if geometry.bias else gradients[1:2]


def _runs_compiled(images: Tensor, gradients: Tensor) -> bool:
    """In double precision, made for trials and tests, compiling would take longer than it saves."""
    return images.dtype == torch.float32 and runs_compiled(images, gradients)


def _channels_last(tensor: Tensor, clients: int) -> Tensor:
    """`[examples, channels, rows, columns]` as `[clients, images, rows, columns, channels]`."""
    return tensor.permute(0, 2, 3, 1).unflatten(0, (clients, -1)).contiguous()


def _grams(images: Tensor) -> Tensor:
    """Inner products of all pairs of a client's pixels."""
    pixels = images.flatten(1, 3)
    return torch.bmm(pixels, pixels.mT)


def _patches(geometry: Geometry, images: Tensor, gradients: Tensor) -> Tensor:
    """`[clients, output pixels, taps]`, written down."""
    (up, left), (down, right), (below, beside) = geometry.padding, geometry.stride, geometry.dilation
    padded = functional.pad(images, (0, 0, left, left, up, up)).contiguous()
    clients, image, row, column, channel = padded.stride()
    shape = (*gradients.shape[:4], *geometry.kernel, images.shape[4])
    strides = (clients, image, row * down, column * right, row * below, column * beside, channel)
    patches = padded.as_strided(shape, strides).flatten(4).flatten(1, 3)
    return functional.pad(patches, (0, 1), value=1.0) if geometry.bias else patches

"""Sums over the patches of images, compiled for the CPU, one client per task.

A weight gradient is a sum of outer products over pixels. A tile of it stays in registers while all pixels
of a client pass by, and no patch is ever written down: as fast per client as the best library is on a
whole batch, where the library itself loses up to half on the few images of a client.
"""

# pyright: reportCallIssue=false
# numba itself gives an intrinsic its first argument

from typing import NamedTuple

import numpy as np
from numba import prange
from torch import Tensor

from sparsefed.core.types import PerClient
from sparsefed.kernels.compiled import kernel, threads
from sparsefed.kernels.intrinsics.outer_products import TAPS, VECTOR_BYTES, sum_outer_products

__all__ = ["Geometry", "direct_sums", "fits", "shifted_products"]


class Geometry(NamedTuple):
    """Where a convolution looks; pairs are (rows, columns)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    bias: bool


def fits(gradients: Tensor) -> bool:
    """Whether there are enough units to fill a vector."""
    return gradients.shape[-1] * gradients.element_size() >= VECTOR_BYTES


def direct_sums(geometry: Geometry, images: Tensor, gradients: Tensor) -> Tensor:
    """`[clients, taps, units]` from `[clients, images, rows, columns, ·]`, channels and units last."""
    channels, (up, left), (down, right) = images.shape[-1], geometry.padding, geometry.stride
    row = (images.shape[3] + 2 * left) * channels
    taps = geometry.kernel[0] * geometry.kernel[1] * channels
    out = images.new_empty(len(images), taps + geometry.bias, gradients.shape[-1])
    with threads(gradients.numel()):
        _direct_sums(
            images.numpy(), gradients.numpy(), _tiles(geometry, row, channels),
            (up, left), (down * row, right * channels), geometry.bias, out.numpy(),
        )  # fmt: skip
    return out


def _tiles(geometry: Geometry, row: int, channels: int) -> np.ndarray:
    """(place in the image, first tap, taps) of all tiles; taps of a tile are neighbors in the image."""
    (height, width), (below, beside) = geometry.kernel, geometry.dilation
    runs = [(y * below * row, width * channels) for y in range(height)]
    if beside > 1:
        runs = [(start + x * beside * channels, channels) for start, _ in runs for x in range(width)]
    tiles, tap = [], 0
    for start, length in runs:
        done = 0
        while done < length:
            count = next(size for size in (TAPS, 3, 1) if size <= length - done)
            tiles.append((start + done, tap + done, count))
            done += count
        tap += length
    return np.array(tiles)


@kernel(parallel=True)
def _direct_sums(images, gradients, tiles, padding, steps, bias, out):  # noqa: PLR0917
    for client in prange(len(images)):
        _client_sums(images[client], gradients[client], tiles, padding, steps, bias, out[client])


@kernel()
def _client_sums(images, gradients, tiles, padding, steps, bias, out):  # noqa: PLR0917
    padded = _padded(images, padding).reshape(-1)
    image_step = padded.size // len(images)
    for tile in range(len(tiles)):
        start, tap, taps = tiles[tile]
        _row_of_tiles(padded, start, (image_step, *steps), gradients, out, tap, taps)
    if bias:
        _row_of_tiles(np.ones(1, out.dtype), 0, (0, 0, 0), gradients, out, len(out) - 1, 1)


@kernel()
def _padded(images, padding):
    """A client's images with zeros around each."""
    count, rows, columns, channels = images.shape
    up, left = padding
    if up + left == 0:
        return images
    padded = np.zeros((count, rows + 2 * up, columns + 2 * left, channels), images.dtype)
    for image in range(count):
        for row in range(rows):
            for column in range(columns):
                for channel in range(channels):
                    padded[image, row + up, column + left, channel] = images[image, row, column, channel]
    return padded


@kernel()
def _row_of_tiles(image, start, steps, gradients, out, tap, taps):  # noqa: PLR0917
    """Some taps against all units; the last vector of units overlaps its neighbor if it must."""
    lanes, units = VECTOR_BYTES // out.itemsize, out.shape[1]
    pairs = units // (2 * lanes)
    for pair in range(pairs):
        unit = pair * 2 * lanes
        if taps == TAPS:
            sum_outer_products(image, start, steps, gradients, unit, out, tap, TAPS, 2)
        elif taps == 3:
            sum_outer_products(image, start, steps, gradients, unit, out, tap, 3, 2)
        else:
            sum_outer_products(image, start, steps, gradients, unit, out, tap, 1, 2)
    for vector in range(2 * pairs, (units + lanes - 1) // lanes):
        unit = min(vector * lanes, units - lanes)
        if taps == TAPS:
            sum_outer_products(image, start, steps, gradients, unit, out, tap, TAPS, 1)
        elif taps == 3:
            sum_outer_products(image, start, steps, gradients, unit, out, tap, 3, 1)
        else:
            sum_outer_products(image, start, steps, gradients, unit, out, tap, 1, 1)


def shifted_products(
    geometry: Geometry, inner: Tensor, outer: Tensor, images: Tensor, gradients: Tensor
) -> PerClient:
    """Every client's Σₛₜ (patchₛ·patchₜ) outerₛₜ from the inner products of its pixels, `inner`.

    Products of patches are those of pixels, added up over the kernel's taps.
    """
    sums = inner.new_empty(len(inner))
    shape = np.array([images.shape[1:4], gradients.shape[1:4]])
    taps = np.array([geometry.kernel, geometry.stride, geometry.padding, geometry.dilation])
    with threads(outer.numel()):
        _shifted_products(inner.numpy(), outer.numpy(), shape, taps, float(geometry.bias), sums.numpy())
    return sums


@kernel(parallel=True)
def _shifted_products(inner, outer, shape, geometry, bias, sums):  # noqa: PLR0917
    """Both Gram matrices are symmetric: pairs of different images are counted once, and doubled."""
    for client in prange(len(sums)):
        sums[client] = _shifted_product(inner[client], outer[client], shape, geometry, bias)


@kernel()
def _padded_columns(inner, shape, padding):
    """The Gram matrix with columns for the padding's pixels too, which are zero; and the padded width."""
    (count, rows, columns), (up, left) = shape, padding
    high, wide = rows + 2 * up, columns + 2 * left
    padded = np.zeros((len(inner), count * high * wide), inner.dtype)
    for image in range(count):
        for row in range(rows):
            start = (image * high + up + row) * wide + left
            source = (image * rows + row) * columns
            for pixel in range(len(inner)):
                for column in range(columns):
                    padded[pixel, start + column] = inner[pixel, source + column]
    return padded, wide


@kernel()
def _shifted_product(inner, outer, shape, geometry, bias):
    padded, wide = _padded_columns(inner, shape[0], geometry[2])
    (count, rows, columns), (_, high, across) = shape
    kernel, stride, padding, dilation = geometry
    image_size, total = padded.shape[1] // count, 0.0
    end = image_size * (count - 1) + (high - 1) * stride[0] * wide + (across - 1) * stride[1] + 1
    patches = np.empty(end, padded.dtype)
    for pixel in range(len(outer)):
        image, row, column = pixel // (high * across), pixel // across % high, pixel % across
        start = image * image_size
        for place in range(start, end):
            patches[place] = bias
        for tap in range(kernel[0] * kernel[1]):
            down, right = tap // kernel[1] * dilation[0], tap % kernel[1] * dilation[1]
            y, x = row * stride[0] + down - padding[0], column * stride[1] + right - padding[1]
            if 0 <= y < rows and 0 <= x < columns:
                shift = down * wide + right
                products = padded[(image * rows + y) * columns + x, start + shift : end + shift]
                sums = patches[start:]
                for place in range(len(sums)):
                    sums[place] += products[place]
        for other in range(image, count):
            part = outer.dtype.type(0)
            for line in range(high):
                first = other * image_size + line * stride[0] * wide
                source = (other * high + line) * across
                for place in range(across):
                    part += patches[first + place * stride[1]] * outer[pixel, source + place]
            total += part if other == image else 2 * part
    return total

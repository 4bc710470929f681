"""Sums over patches: the compiled kernels and the written-down patches agree with plain loops."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

from sparsefed.clients.ghost import patches
from sparsefed.kernels import patches as compiled
from sparsefed.kernels.patches import Geometry

sides = st.tuples(st.integers(1, 3), st.integers(1, 3))
geometries = st.builds(
    Geometry,
    kernel=sides,
    stride=sides,
    padding=sides.map(lambda p: (p[0] - 1, p[1] - 1)),
    dilation=sides,
    bias=st.booleans(),
)


def cohort(geometry: Geometry, draw: np.random.Generator, channels: int, units: int):
    """Images of three clients, two each, and gradients of the size that the convolution would give."""
    module = nn.Conv2d(channels, units, geometry.kernel, geometry.stride, geometry.padding, geometry.dilation)
    x = torch.from_numpy(draw.normal(size=(6, channels, 7, 8)))
    dy = torch.from_numpy(draw.normal(size=module.double()(x).shape))
    return x, dy


def literal_sums(geometry: Geometry, x: torch.Tensor, dy: torch.Tensor, clients: int) -> np.ndarray:
    """Tap by tap: Σ over pixels of the image under the tap times the gradient."""
    (up, left), (down, right), (below, beside) = geometry.padding, geometry.stride, geometry.dilation
    image = np.pad(x.numpy(), ((0, 0), (0, 0), (up, up), (left, left)))
    rows, columns = dy.shape[2:]
    sums = []
    for i in range(geometry.kernel[0]):
        for j in range(geometry.kernel[1]):
            under = image[:, :, i * below :: down, j * beside :: right][:, :, :rows, :columns]
            each = np.einsum("ncrs,nurs->ncu", under, dy.numpy())
            sums.append(each.reshape(clients, -1, *each.shape[1:]).sum(1))
    if geometry.bias:
        sums.append(dy.numpy().sum((2, 3)).reshape(clients, -1, 1, dy.shape[1]).sum(1))
    return np.concatenate(sums, axis=1)


@settings(max_examples=30, deadline=None)
@given(geometries, st.integers(1, 6), st.integers(8, 40), st.integers(0, 2**32 - 1))
def test_direct_sums_of_both_kinds_are_the_literal_ones(geometry, channels, units, seed):
    x, dy = cohort(geometry, np.random.default_rng(seed), channels, units)
    expected = literal_sums(geometry, x, dy, 3)
    np.testing.assert_allclose(patches.direct_sums(geometry, x, dy, 3), expected, rtol=1e-12, atol=1e-12)
    last = [tensor.permute(0, 2, 3, 1).unflatten(0, (3, 2)).contiguous() for tensor in (x, dy)]
    np.testing.assert_allclose(compiled.direct_sums(geometry, *last), expected, rtol=1e-12, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(geometries, st.integers(1, 6), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_gram_products_of_both_kinds_are_squared_norms(geometry, channels, units, seed):
    x, dy = cohort(geometry, np.random.default_rng(seed), channels, units)
    expected = (literal_sums(geometry, x, dy, 3) ** 2).sum((1, 2))
    np.testing.assert_allclose(patches.gram_products(geometry, x, dy, 3), expected, rtol=1e-12)
    last = [tensor.permute(0, 2, 3, 1).unflatten(0, (3, 2)).contiguous() for tensor in (x, dy)]
    grams = [torch.einsum("crp,csp->crs", t, t) for t in (part.flatten(1, 3) for part in last)]
    np.testing.assert_allclose(compiled.shifted_products(geometry, *grams, *last), expected, rtol=1e-12)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_changes_no_bit(threads):
    geometry = Geometry((3, 3), (1, 1), (1, 1), (1, 1), True)
    draw = torch.Generator().manual_seed(0)
    x, dy = (torch.randn(4, 5, 16, 16, size, generator=draw) for size in (24, 40))
    before = torch.get_num_threads()
    expected = compiled.direct_sums(geometry, x, dy)
    torch.set_num_threads(threads)
    try:
        assert torch.equal(compiled.direct_sums(geometry, x, dy), expected)
    finally:
        torch.set_num_threads(before)

"""Fixed point: never longer than the bound, as near as its bits allow, and exact sums."""

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from sparsefed import SpecError, UpdateError
from sparsefed.secagg import FixedPoint, Parameters
from sparsefed.secagg.encoding import squared_norm

lengths = st.floats(1e-30, 1e30)


@given(lengths, st.integers(8, 24), st.integers(0, 2**32), st.floats(0, 1e6), st.integers(1, 300))
def test_no_encoding_is_longer_than_the_bound_nor_far_from_its_vector(
    norm: float, bits: int, seed: int, stretch: float, dimension: int
):
    code = FixedPoint(norm, bits)
    assert 2 ** (bits - 1) <= code.bound < 2**bits
    vector = np.random.default_rng(seed).standard_normal(dimension)
    vector *= stretch * norm / np.linalg.norm(vector)
    encoded = code.encode(vector)
    assert squared_norm(encoded) <= code.bound**2
    clipped = vector * min(1, 1 / stretch) if stretch else vector
    off = np.linalg.norm(code.decode(encoded) - clipped)
    assert off <= (math.sqrt(dimension) + 2) * 2.0 ** (1 - bits) * norm


@given(st.integers(8, 24), lengths)
def test_every_bound_is_one_that_the_proofs_hold_for(bits: int, norm: float):
    Parameters(dimension=1, bound=FixedPoint(norm, bits).bound)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_extremes_of_every_type_are_clipped(kind: type):
    code = FixedPoint(1.0)
    limits = np.finfo(kind)
    for vector in ([limits.max] * 4, [limits.tiny] * 4, [limits.max, -limits.tiny, 0, 1]):
        encoded = code.encode(np.array(vector, kind))
        assert squared_norm(encoded) <= code.bound**2
    assert code.encode(np.array([-limits.max, 0], kind)).tolist() == [-code.bound, 0]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_never_leaves_the_device(number: float):
    with pytest.raises(UpdateError, match="expected finite"):
        FixedPoint(1.0).encode(np.array([0.0, number]))


@pytest.mark.parametrize(("norm", "bits"), [(0.0, 24), (-1.0, 24), (math.inf, 24), (math.nan, 24), (1.0, 25)])
def test_norms_and_bits_that_cannot_be_are_refused(norm: float, bits: int):
    with pytest.raises(SpecError, match="expected"):
        FixedPoint(norm, bits)

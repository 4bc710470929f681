"""The field and its transforms against Python's integers."""

import numpy as np
import pytest
import slow_pine as slow
from hypothesis import given, settings, strategies as st

from sparsefed.secagg import field
from sparsefed.secagg.field import Q

EDGES = [0, 1, 2, 2**31, 2**32 - 2, 2**32 - 1, 2**32, 2**32 + 1, 2**63, Q - 2**32, Q - 2, Q - 1]
number = st.one_of(st.sampled_from(EDGES), st.integers(0, Q - 1))


def vector(numbers: list[int]) -> np.ndarray:
    return np.array(numbers, np.uint64)


def test_every_pair_of_edges_adds_subtracts_and_multiplies_as_integers_do():
    a, b = (side.ravel() for side in np.meshgrid(vector(EDGES), vector(EDGES)))
    pairs = list(zip(a.tolist(), b.tolist(), strict=True))
    assert field.add(a, b).tolist() == [(x + y) % Q for x, y in pairs]
    assert field.subtract(a, b).tolist() == [(x - y) % Q for x, y in pairs]
    assert field.multiply(a, b).tolist() == [x * y % Q for x, y in pairs]
    assert field.dot(a, b) == sum(x * y for x, y in pairs) % Q


@given(st.lists(st.tuples(number, number), min_size=1, max_size=40))
def test_any_numbers_add_subtract_and_multiply_as_integers_do(pairs: list[tuple[int, int]]):
    a, b = (vector([pair[i] for pair in pairs]) for i in range(2))
    assert field.add(a, b).tolist() == [(x + y) % Q for x, y in pairs]
    assert field.subtract(a, b).tolist() == [(x - y) % Q for x, y in pairs]
    assert field.multiply(a, b).tolist() == [x * y % Q for x, y in pairs]


@given(st.lists(number, max_size=20))
def test_bytes_hold_canonical_numbers_only(numbers: list[int]):
    data = bytes(field.to_bytes(vector(numbers)))
    assert data == slow.to_bytes(numbers)
    read = field.from_bytes(data)
    assert read is not None
    assert read.tolist() == numbers
    assert field.from_bytes(data + Q.to_bytes(8, "little")) is None


@given(st.lists(st.integers(-(Q // 2), Q // 2), min_size=1, max_size=20))
def test_elements_stand_for_the_integers_nearest_to_zero(numbers: list[int]):
    integers = np.array(numbers, np.int64)
    assert field.elements(integers).tolist() == [x % Q for x in numbers]
    assert field.centered(field.elements(integers)).tolist() == numbers


@pytest.mark.parametrize("order", [2, 4, 16])
@settings(max_examples=15)
@given(data=st.data())
def test_the_sum_of_products_is_the_one_of_the_interpolated_polynomials(order: int, data: st.DataObject):
    width = data.draw(st.integers(1, 40))
    draw = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    values = draw.integers(0, Q, (2, data.draw(st.integers(1, (order - 1) * width))), dtype=np.uint64)
    seeds = draw.integers(0, Q, (2, width), dtype=np.uint64)
    points = [pow(field.root(order), i, Q) for i in range(order)]
    polynomials = []
    for row, seed in zip(values.tolist(), seeds.tolist(), strict=True):
        rows = [seed, *slow.chunks(row, width)]
        rows += [[0] * width] * (order - len(rows))
        polynomials.append([slow.interpolate(points, [r[j] for r in rows]) for j in range(min(width, 3))])
    for left, right in ((0, 1), (0, 0)):
        sides = [(values[0], seeds[0])] + ([(values[1], seeds[1])] if right else [])
        found = field.product_coefficients(*sides, width=width, order=order)
        assert len(found) == 2 * order - 1
        if width <= 3:
            pairs = zip(polynomials[left], polynomials[right], strict=True)
            products = [slow.multiply(f, g) for f, g in pairs]
            assert found.tolist() == [sum(c) % Q for c in zip(*products, strict=True)]
        at_one = sum(int(a) * int(b) for a, b in zip(seeds[left], seeds[right], strict=True)) % Q
        assert field.value_at(found, 1) == at_one
        assert field.on_roots(found, order).tolist() == [slow.value(found.tolist(), x) for x in points]


@given(number, st.sampled_from([1, 2, 8, 64]))
def test_the_basis_gives_the_value_at_any_point_but_the_roots(point: int, order: int):
    weights = field.basis(point, order)
    if pow(point, order, Q) == 1:
        assert weights is None
        return
    coefficients = np.random.default_rng(order).integers(0, Q, order, dtype=np.uint64)
    assert weights is not None
    assert field.dot(weights, field.on_roots(coefficients, order)) == field.value_at(coefficients, point)


@given(st.integers(1, 700), st.integers(1, 5), st.integers(0, 2**32))
def test_signed_sums_are_those_of_the_signs_two_bits_at_a_time(count: int, checks: int, seed: int):
    draw = np.random.default_rng(seed)
    values = draw.choice(vector([*EDGES, 17, Q - 17]), count)
    signs = draw.integers(0, 256, (checks, -(-count // 4)), dtype=np.uint8)
    expected = []
    for row in signs.tolist():
        plain = [(-1, 0, 0, 1)[byte >> shift & 3] for byte in row for shift in (0, 2, 4, 6)]
        expected.append(sum(s * x for s, x in zip(plain, values.tolist(), strict=False)) % Q)
    assert field.signed_sums(values, signs).tolist() == expected

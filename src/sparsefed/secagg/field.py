"""The field of q = 2⁶⁴ − 2³² + 1 elements: vectors as arrays of uint64, single numbers as Python's."""

from functools import cache
from typing import TypeAlias

import numpy as np

from sparsefed.kernels import goldilocks, transforms
from sparsefed.kernels.goldilocks import Q

__all__ = [
    "BYTES",
    "Q",
    "Elements",
    "add",
    "basis",
    "bits_of",
    "centered",
    "combine",
    "dot",
    "elements",
    "from_bytes",
    "multiply",
    "on_roots",
    "powers",
    "product_coefficients",
    "root",
    "signed_sums",
    "subtract",
    "to_bytes",
    "value_at",
]

Elements: TypeAlias = np.ndarray
"""A vector of canonical field elements, uint64."""
BYTES = 8
"""Of an element, little-endian."""
_NONE = np.empty(0, np.uint64)


def elements(numbers: np.ndarray) -> Elements:
    """Signed integers of magnitude below q as elements."""
    unsigned = numbers.astype(np.int64, copy=False).view(np.uint64)
    return np.where(numbers < 0, unsigned + np.uint64(Q), unsigned)


def centered(vector: Elements) -> np.ndarray:
    """The integers nearest to 0 that the elements stand for, int64."""
    return np.where(vector > Q // 2, vector - np.uint64(Q), vector).view(np.int64)


def to_bytes(vector: Elements) -> memoryview:
    """The elements one after the other, without a copy where the machine is little-endian."""
    return np.ascontiguousarray(vector, "<u8").data.cast("B")


def from_bytes(data: bytes | memoryview) -> Elements | None:
    """The elements that the bytes stand for; None where one of them is not canonical."""
    vector = np.frombuffer(data, "<u8").astype(np.uint64)
    return None if int(vector.max(initial=0)) >= Q else vector


def bits_of(number: int, count: int) -> Elements:
    """The lowest bits of a number, lowest first."""
    return np.array([number >> i & 1 for i in range(count)], np.uint64)


def add(a: Elements, b: Elements) -> Elements:
    return goldilocks.added(a, b)


def subtract(a: Elements, b: Elements) -> Elements:
    return goldilocks.subtracted(a, b)


def multiply(a: Elements, b: Elements) -> Elements:
    return goldilocks.multiplied(a, b)


def dot(a: Elements, b: Elements) -> int:
    """The inner product."""
    return int(goldilocks.weighed(a, b))


def combine(weights: Elements, values: Elements, width: int) -> Elements:
    """The weighted sum of the rows of `width` into which `values` are cut, the last one padded with zeros."""
    return goldilocks.combined(weights, values, width)


def powers(base: int, count: int) -> Elements:
    """1, x, x², …"""
    return goldilocks.powers(np.uint64(base), count)


def signed_sums(values: Elements, signs: np.ndarray) -> Elements:
    """The sums of `values` times the random signs in each row of bytes; see `kernels.transforms`."""
    return transforms.signed_sums(values, signs)


@cache
def root(order: int) -> int:
    """The root of unity whose powers are the points of polynomials given by `order` values, a power of 2."""
    return pow(7, (Q - 1) // order, Q)


class _Points:
    """Powers of the roots of unity of one order."""

    def __init__(self, order: int) -> None:
        self.roots = powers(root(order), max(1, order // 2))
        self.back = powers(pow(root(order), -1, Q), max(1, order // 2))
        count = order.bit_length() - 1
        self.reversed = np.array([int(f"{i:0{count}b}"[::-1], 2) if count else 0 for i in range(order)])
        between = powers(root(2 * order), order)
        self.twist = multiply(between, np.full(order, pow(order, -1, Q), np.uint64))[self.reversed]


_points = cache(_Points)


def on_roots(coefficients: Elements, order: int) -> Elements:
    """The values of a polynomial of any degree on the roots of unity of `order`."""
    rows = -(-len(coefficients) // order)
    folded = combine(powers(1, rows), coefficients, order)  # xᵒʳᵈᵉʳ = 1 there
    points = _points(order)
    column = folded[points.reversed].reshape(-1, 1)
    transforms.forward(column, points.roots)
    return column.ravel()


def product_coefficients(*sides: tuple[Elements, Elements], width: int, order: int) -> Elements:
    """The 2·order − 1 coefficients of Σⱼ fⱼ·gⱼ, for polynomials given by their values on the roots of unity.

    A side is a flat vector, cut into rows of `width`, and a seed per column. Column j of the first side gives
    fⱼ: its seed, its numbers, then zeros. The second side gives the gⱼ; without one, they are the fⱼ.
    """
    points = _points(order)
    right, seeds = sides[-1] if len(sides) == 2 else (_NONE, sides[0][1])
    even, odd = transforms.product_values(
        sides[0][0], right, sides[0][1], seeds, width, points.roots, points.back, points.twist
    )
    column = np.stack([even, odd], axis=1).reshape(-1, 1)
    double = _points(2 * order)
    transforms.inverse(column, double.back)
    scale = np.full(2 * order, pow(2 * order, -1, Q), np.uint64)
    return multiply(column[double.reversed, 0], scale)[:-1]


def basis(point: int, order: int) -> Elements | None:
    """The weights of the values on the roots of unity in the value at `point`; None where it is a root.

    Weight k is wᵏ (tᴾ − 1) / (P (t − wᵏ)), for P = order.
    """
    top = (pow(point, order, Q) - 1) * pow(order, -1, Q) % Q
    if top == 0:
        return None
    roots, w = 1, root(order)
    weights = []
    for _ in range(order):
        weights.append(roots * top * pow(point - roots, -1, Q) % Q)
        roots = roots * w % Q
    return np.array(weights, np.uint64)


def value_at(coefficients: Elements, point: int) -> int:
    """The value of a polynomial."""
    return dot(coefficients, powers(point, len(coefficients)))

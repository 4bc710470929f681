"""Number-theoretic transforms of many short columns at a time, and what the proofs compute with them.

A vector is cut into rows of `width`; the columns of the resulting matrix are polynomials, given by their
values on the P-th roots of unity. Sixteen neighboring columns are transformed together: they fill cache
lines, and all that a transform touches stays in the nearest cache.
"""

import numpy as np

from sparsefed.kernels.compiled import kernel
from sparsefed.kernels.goldilocks import Q, minus, plus, times

__all__ = ["forward", "inverse", "product_values", "signed_sums"]

_BLOCK = 16  # columns: 128 B of each row
_GROUPS = 64  # of four numbers, whose tables of sums take 16 KiB
_Q = np.uint64(Q)


@kernel()
def inverse(block, roots):
    """In place: values on the roots, in order, to P times the coefficients, in bit-reversed order.

    `block` is `[P, columns]`, `roots` the powers of the inverse of the root of unity, `[P / 2]`.
    """
    half = len(block) // 2
    step = 1
    while half >= 1:
        for start in range(0, len(block), 2 * half):
            for i in range(half):
                root = roots[i * step]
                for j in range(block.shape[1]):
                    a, b = block[start + i, j], block[start + half + i, j]
                    block[start + i, j] = plus(a, b)
                    block[start + half + i, j] = times(minus(a, b), root)
        half //= 2
        step *= 2


@kernel()
def forward(block, roots):
    """In place: coefficients in bit-reversed order to values on the roots, in order."""
    half = 1
    step = len(block) // 2
    while half < len(block):
        for start in range(0, len(block), 2 * half):
            for i in range(half):
                root = roots[i * step]
                for j in range(block.shape[1]):
                    a, b = block[start + i, j], times(block[start + half + i, j], root)
                    block[start + i, j] = plus(a, b)
                    block[start + half + i, j] = minus(a, b)
        half *= 2
        step //= 2


@kernel()
def product_values(left, right, left_seeds, right_seeds, width, roots, back, twist):  # noqa: PLR0917
    """Σⱼ fⱼ · gⱼ of column polynomials, by its values on the roots of unity of order 2P.

    Column j of `left` gives fⱼ: its seed at 1, its numbers at the following roots, then zeros. An empty
    `right` stands for `left` itself, so the sum is one of squares. `roots` and `back` are the powers of the
    root and of its inverse, `[P / 2]`, and `twist` is `[P]`: the powers of a root of order 2P over P, in
    bit-reversed order, which move the polynomial to the roots in between.
    """
    size = len(twist)
    even, odd = np.zeros(size, np.uint64), np.zeros(size, np.uint64)
    f, g = np.empty((size, _BLOCK), np.uint64), np.empty((size, _BLOCK), np.uint64)
    for first in range(0, width, _BLOCK):
        _load(left, left_seeds, width, first, f)
        if len(right):
            _load(right, right_seeds, width, first, g)
            _add_products(f, g, even)
            _shift(g, roots, back, twist)
            _shift(f, roots, back, twist)
            _add_products(f, g, odd)
        else:
            _add_products(f, f, even)
            _shift(f, roots, back, twist)
            _add_products(f, f, odd)
    return even, odd


@kernel()
def _load(values, seeds, width, first, block):
    block[:] = np.uint64(0)
    columns = min(_BLOCK, width - first)
    block[0, :columns] = seeds[first : first + columns]
    for k in range(1, len(block)):
        start = (k - 1) * width + first
        for j in range(min(columns, len(values) - start)):
            block[k, j] = values[start + j]


@kernel()
def _shift(block, roots, back, twist):
    inverse(block, back)
    for i in range(len(block)):
        for j in range(_BLOCK):
            block[i, j] = times(block[i, j], twist[i])
    forward(block, roots)


@kernel()
def _add_products(f, g, totals):
    for i in range(len(f)):
        total = totals[i]
        for j in range(_BLOCK):
            total = plus(total, times(f[i, j], g[i, j]))
        totals[i] = total


@kernel()
def signed_sums(values, signs):
    """For each row of `signs`, the sum of the numbers times its random signs −1, 0 or 1.

    A byte holds the signs of four numbers, lowest bits first: 00 is −1, 11 is 1, the others are 0. All sums
    that two neighbors can give are tabled once and looked up for every row.
    """
    checks, count = signs.shape
    low, carries = np.zeros(checks, np.uint64), np.zeros(checks, np.uint64)
    tables = np.empty((2 * _GROUPS, 16), np.uint64)
    for first in range(0, count, _GROUPS):
        groups = min(_GROUPS, count - first)
        for pair in range(2 * groups):
            at = 4 * first + 2 * pair
            a = values[at] if at < len(values) else np.uint64(0)
            b = values[at + 1] if at + 1 < len(values) else np.uint64(0)
            _table(a, b, tables[pair])
        for check in range(checks):
            total, carry = low[check], carries[check]
            for group in range(groups):
                byte = signs[check, first + group]
                for nibble in range(2):
                    term = tables[2 * group + nibble, byte >> (4 * nibble) & 15]
                    total += term
                    carry += np.uint64(total < term)
            low[check], carries[check] = total, carry
    for check in range(checks):  # 2⁶⁴ ≡ 2³² − 1
        low[check] = plus(low[check] % _Q, times(carries[check], np.uint64(2**32 - 1)))
    return low


@kernel()
def _table(a, b, table):
    zero = np.uint64(0)
    for bits in range(16):
        mine = a if bits & 3 == 3 else (plus(zero, _Q - a) if bits & 3 == 0 else zero)
        other = b if bits >> 2 == 3 else (plus(zero, _Q - b) if bits >> 2 == 0 else zero)
        table[bits] = plus(mine, other)

"""Arithmetic modulo q = 2⁶⁴ − 2³² + 1, compiled: what the proofs of `sparsefed.secagg` spend their time on.

Numbers are canonical, 0 ≤ x < q, in arrays of uint64. A product of 128 bits is reduced with 2⁶⁴ ≡ 2³² − 1
and 2⁹⁶ ≡ −1 (mod q), which takes additions only.
"""

import numpy as np

from sparsefed.kernels.compiled import kernel

__all__ = [
    "Q",
    "added",
    "combined",
    "minus",
    "multiplied",
    "plus",
    "powers",
    "subtracted",
    "times",
    "weighed",
]

Q = 2**64 - 2**32 + 1
_Q, _FOLD, _HALF, _ZERO = np.uint64(Q), np.uint64(2**32 - 1), np.uint64(32), np.uint64(0)


@kernel()
def times(a, b):
    """The product of two numbers."""
    a_low, a_high, b_low, b_high = a & _FOLD, a >> _HALF, b & _FOLD, b >> _HALF
    bottom = a_low * b_low
    cross = a_low * b_high + (bottom >> _HALF)
    other = a_high * b_low + (cross & _FOLD)
    upper = a_high * b_high + (cross >> _HALF) + (other >> _HALF)
    lower = other << _HALF | bottom & _FOLD
    top, middle = upper >> _HALF, (upper & _FOLD) * _FOLD
    low = lower - top - (_FOLD if lower < top else _ZERO)
    total = low + middle
    total += _FOLD if total < middle else _ZERO
    return min(total, total - _Q)


@kernel()
def plus(a, b):
    """The sum of two numbers."""
    total = a + b
    total += _FOLD if total < a else _ZERO
    return min(total, total - _Q)


@kernel()
def minus(a, b):
    """The difference of two numbers."""
    return a - b - (_FOLD if a < b else _ZERO)


@kernel()
def added(a, b):
    """The sum of two vectors."""
    out = np.empty_like(a)
    for i in range(len(a)):
        out[i] = plus(a[i], b[i])
    return out


@kernel()
def subtracted(a, b):
    """The difference of two vectors."""
    out = np.empty_like(a)
    for i in range(len(a)):
        out[i] = minus(a[i], b[i])
    return out


@kernel()
def multiplied(a, b):
    """The product of two vectors, number by number."""
    out = np.empty_like(a)
    for i in range(len(a)):
        out[i] = times(a[i], b[i])
    return out


@kernel()
def weighed(a, b):
    """The inner product of two vectors."""
    total = np.uint64(0)
    for i in range(len(a)):
        total = plus(total, times(a[i], b[i]))
    return total


@kernel()
def combined(weights, values, width):
    """Σₖ weights[k] · (row k of `values`), a flat vector cut into rows of `width`, the last padded."""
    out = np.zeros(width, np.uint64)
    for k in range(len(weights)):
        start = k * width
        for j in range(min(width, len(values) - start)):
            out[j] = plus(out[j], times(weights[k], values[start + j]))
    return out


@kernel()
def powers(base, count):
    """1, x, x², … as a vector."""
    out = np.empty(count, np.uint64)
    power = np.uint64(1)
    for i in range(count):
        out[i] = power
        power = times(power, base)
    return out

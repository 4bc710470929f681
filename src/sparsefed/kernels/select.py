"""The k-th largest magnitude by counting digits (radix selection): linear for any input, ties and zeros too.

The bits of a float without its sign, read as an integer, are in the order of the magnitudes, and NaN
comes after infinity. Eleven bits at a time, from the top: count the digits, keep the one that holds the
k-th largest.
"""

import numpy as np
from numba import prange

from sparsefed.kernels.compiled import kernel, threads

__all__ = ["kth_largest", "magnitude_keys"]

_BITS = 11
_DIGITS = 1 << _BITS


def magnitude_keys(values: np.ndarray) -> np.ndarray:
    """Integers in the order of the magnitudes of float32 or float64 numbers."""
    integers = np.int32 if values.dtype == np.float32 else np.int64
    return values.view(integers) & np.iinfo(integers).max


def kth_largest(keys: np.ndarray, k: int) -> int:
    """The k-th largest of non-negative int32 or int64 keys, 1 ≤ k ≤ len(keys); 3 or 6 read passes."""
    if np.count_nonzero(keys) < k:
        return 0
    key, wanted = 0, k
    for shift in reversed(range(0, 8 * keys.itemsize - 1, _BITS)):
        with threads(len(keys)) as spans:
            counts = np.zeros((spans, _DIGITS), np.int64)
            _count_digits(keys, key, shift, counts)
        from_top = counts.sum(axis=0)[::-1].cumsum()
        steps = int(np.searchsorted(from_top, wanted))
        wanted -= int(from_top[steps - 1]) if steps else 0
        key = (key << _BITS) | (_DIGITS - 1 - steps)
    return key


@kernel(parallel=True)
def _count_digits(keys, prefix, shift, counts):
    """How often each digit follows `prefix`, one row of `counts` per span of the keys."""
    for span in prange(len(counts)):
        start = len(keys) * span // len(counts)
        stop = len(keys) * (span + 1) // len(counts)
        for i in range(start, stop):
            if keys[i] >> shift >> _BITS == prefix:  # a shift by 64 or more has no meaning
                counts[span, (keys[i] >> shift) & (_DIGITS - 1)] += 1

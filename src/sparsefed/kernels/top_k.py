"""The index set of the k largest magnitudes of a vector, exactly, in little more than one read pass.

A sample of 2¹⁵ coordinates gives a magnitude that a little more than k coordinates reach; one parallel
pass collects those; a selection among them finds the k-th. Where the sample misleads (fewer than k
candidates: unlucky, or mostly zeros), a selection over the whole vector takes its place.

The k-th largest magnitude by counting digits (radix selection): linear for any input, ties and zeros too.

The bits of a float without its sign, read as an integer, are in the order of the magnitudes, and NaN
comes after infinity. Eleven bits at a time, from the top: count the digits, keep the one that holds the
k-th largest.
"""

# pyright: reportCallIssue=false
# numba itself gives an intrinsic its first argument

import math

import numpy as np
import torch
from numba import prange
from torch import Tensor

from sparsefed.core.types import Vector
from sparsefed.kernels.compiled import kernel, runs_compiled, threads
from sparsefed.kernels.intrinsics.simd import LANES, first_bit, not_below

__all__ = ["kth_largest", "magnitude_keys", "top_k"]


_SAMPLE = 1 << 15


def top_k(vector: Vector, k: int) -> Tensor:
    """Indices of the k coordinates of largest magnitude; NaN is the largest of all, as in `torch.topk`.

    On a CPU they come in ascending order and ties go to the lowest index; on a GPU both are `torch.topk`'s.
    Cost: about one read pass of the vector, and a selection among 1.2 k to 3 k candidates.
    """
    if vector.device.type != "cpu":
        return torch.topk(vector.abs(), k, sorted=False).indices
    vector = vector.detach().contiguous()
    if not runs_compiled(vector):
        vector = vector.float()
    return torch.from_numpy(_top_k(vector.numpy(), k))


def _top_k(values: np.ndarray, k: int) -> np.ndarray:
    if len(values) > 2 * _SAMPLE:
        candidates = _not_below(values, *_sampled_threshold(values, k))
        if len(candidates) >= k:
            return candidates[_largest(magnitude_keys(values[candidates]), k)]
    return _largest(magnitude_keys(values), k)


def _sampled_threshold(values: np.ndarray, k: int) -> tuple[np.floating, int]:
    """A magnitude that k coordinates reach with near certainty, and how many do; never 0, which all reach."""
    hits = k * _SAMPLE / len(values)
    rank = min(int(hits + 6 * math.sqrt(hits)) + 8, _SAMPLE)  # six standard deviations to be safe
    threshold = np.partition(_spread_sample(values, _SAMPLE), _SAMPLE - rank)[_SAMPLE - rank]
    smallest = np.finfo(values.dtype).smallest_subnormal
    return np.maximum(threshold, smallest), rank * len(values) // _SAMPLE


def _not_below(values: np.ndarray, threshold: np.floating, expected: int) -> np.ndarray:
    """Indices of magnitudes ≥ `threshold` or NaN, ascending."""
    with threads(len(values)) as spans:
        found = np.zeros(spans, np.int64)
        room = 2 * expected // spans + LANES
        while True:
            places = np.empty((spans, room), np.int64)
            _collect(values, threshold, places, found)
            if found.max() <= room:
                return np.concatenate([row[:n] for row, n in zip(places, found, strict=True)])
            room = int(found.max())  # more than expected: now the room is known


def _largest(keys: np.ndarray, k: int) -> np.ndarray:
    """Where the k largest keys are, ascending; of those that tie, the first."""
    kth = kth_largest(keys, k)
    chosen = keys > kth
    ties = np.flatnonzero(keys == kth)
    chosen[ties[: k - np.count_nonzero(chosen)]] = True
    return np.flatnonzero(chosen)


@kernel()
def _spread_sample(values, count):
    """Magnitudes at `count` places, one at a pseudo-random position of each of `count` equal stretches."""
    sample = np.empty(count, values.dtype)
    stretch = len(values) // count
    for i in range(count):
        mixed = np.uint64(i + 1) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(40)
        sample[i] = abs(values[i * stretch + np.int64(mixed) % stretch])
    return sample


@kernel(parallel=True)
def _collect(values, threshold, places, found):
    """One span of the vector per row of `places`; `found` counts on where a row is full."""
    for span in prange(len(found)):
        start = len(values) * span // len(found)
        stop = len(values) * (span + 1) // len(found)
        found[span] = _collect_span(values, threshold, start, stop, places[span])


@kernel()
def _collect_span(values, threshold, start, stop, places):
    count = 0
    whole = stop - (stop - start) % LANES
    for block in range(start, whole, LANES):
        bits = not_below(values, block, threshold)
        while bits != np.uint64(0):
            if count < len(places):
                places[count] = block + first_bit(bits)
            count += 1
            bits &= bits - np.uint64(1)
    for i in range(whole, stop):
        if not abs(values[i]) < threshold:
            if count < len(places):
                places[count] = i
            count += 1
    return count


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

"""Coordinate-wise order statistics over clients: trimmed mean, median, mean near the median.

A block of columns is copied to a scratch array that fits the first cache, sorted there by a network, and
summed up. Cost for 100 clients: about five read passes of the matrix. The matrix is read once, in place;
factors and row indices are applied on the way. NaN has no rank: keeping it out is the caller's task.
Columns whose sums overflow are computed again from numbers scaled down: finite values, finite results.
"""

# pyright: reportCallIssue=false
# numba itself gives an intrinsic its first argument

from collections.abc import Callable

import numpy as np
import torch
from numba import prange
from torch import Tensor

from sparsefed.core.types import Matrix, PerClient, Vector
from sparsefed.kernels.compiled import kernel, runs_compiled, threads
from sparsefed.kernels.finite import all_finite
from sparsefed.kernels.intrinsics.networks import GROUP, network
from sparsefed.kernels.intrinsics.rows import (
    ROW_BYTES,
    aligned,
    average_rows,
    exchange,
    load_row,
    load_sorted,
)

__all__ = ["mean_near_median", "median", "trimmed_mean"]

_MOST_ROWS = 1024
_COLUMNS_AT_A_TIME = 1 << 16
_SMALL = (
    2.0**-32
)  # a power of two changes no digit, and 2³² numbers scaled by it sum up to what a float64 holds


def trimmed_mean(
    matrix: Matrix, f: int, factors: PerClient | None = None, indices: Tensor | None = None
) -> Vector:
    """Per coordinate, the mean of what is left without the f smallest and the f largest values.

    `factors` multiply the rows; `indices` choose among them. 0 ≤ 2f < number of chosen rows.
    """
    count = len(matrix) if indices is None else len(indices)
    return _central_mean(matrix, f, count - f, factors, indices)


def median(matrix: Matrix, factors: PerClient | None = None, indices: Tensor | None = None) -> Vector:
    """Per coordinate, the middle value; of an even number the average of the two middle values."""
    count = len(matrix) if indices is None else len(indices)
    return _central_mean(matrix, (count - 1) // 2, count // 2 + 1, factors, indices)


def mean_near_median(
    matrix: Matrix, count: int, factors: PerClient | None = None, indices: Tensor | None = None
) -> Vector:
    """Per coordinate, the mean of the `count` values closest to the median; of two as close, the smaller."""
    rows = len(matrix) if indices is None else len(indices)
    low, high = max(0, (rows - 1) // 2 - count + 1), min(rows, rows // 2 + count)  # no other can be nearest
    return _reduced(lambda block: _near_median(block, count), (low, high, count), matrix, factors, indices)


def _central_mean(
    matrix: Matrix, low: int, high: int, factors: PerClient | None, indices: Tensor | None
) -> Vector:
    """Per coordinate, the mean of the values of rank low … high − 1."""
    return _reduced(lambda block: block[low:high].mean(dim=0), (low, high, 0), matrix, factors, indices)


def _reduced(
    reduce: Callable[[Matrix], Vector],
    ranks: tuple[int, int, int],
    matrix: Matrix,
    factors: PerClient | None,
    indices: Tensor | None,
) -> Vector:
    """`reduce` of the sorted columns, by a compiled kernel (which knows it by its ranks) where one fits."""
    rows = len(matrix) if indices is None else len(indices)
    if _fits(matrix, rows):
        comparators = network(rows, ranks[0], ranks[1], ordered=ranks[2] > 0, group=GROUP)
        result = _sorted_blocks(matrix, comparators, ranks, factors, indices)
    else:
        result = _in_blocks(reduce, matrix, factors, indices)
    if not all_finite(result):
        for columns in (~result.isfinite()).nonzero()[:, 0].split(_COLUMNS_AT_A_TIME):
            small = matrix[:, columns].double() * _SMALL
            result[columns] = (_in_blocks(reduce, small, factors, indices) / _SMALL).to(result.dtype)
    return result


def _fits(matrix: Matrix, rows: int) -> bool:
    lanes = ROW_BYTES // matrix.element_size()
    return runs_compiled(matrix) and rows <= _MOST_ROWS and matrix.shape[1] >= lanes


def _in_blocks(
    reduce: Callable[[Matrix], Vector], matrix: Matrix, factors: PerClient | None, indices: Tensor | None
) -> Vector:
    """`reduce` of the sorted columns, in PyTorch, some columns at a time."""
    parts = []
    for block in matrix.split(_COLUMNS_AT_A_TIME, dim=1):
        rows = block if factors is None else block * factors.to(block)[:, None]
        parts.append(reduce((rows if indices is None else rows[indices]).sort(dim=0).values))
    return torch.cat(parts)


def _near_median(rows: Matrix, count: int) -> Vector:
    """The same in PyTorch, of sorted columns: the chosen values are neighbors in rank."""
    middle = rows[(len(rows) - 1) // 2] / 2 + rows[len(rows) // 2] / 2  # their sum could overflow
    farther = rows[count:] - middle < middle - rows[: len(rows) - count]
    first = farther.sum(dim=0)
    return rows.gather(0, first + torch.arange(count, device=rows.device)[:, None]).mean(dim=0)


def _sorted_blocks(
    matrix: Matrix, comparators: np.ndarray, ranks: tuple, factors: PerClient | None, indices: Tensor | None
) -> Vector:
    lanes = ROW_BYTES // matrix.element_size()
    chosen = np.arange(len(matrix)) if indices is None else indices.numpy().astype(np.int64)
    scales = np.ones(len(chosen)) if factors is None else factors.numpy()[chosen]
    result = torch.empty_like(matrix[0])
    numbers, dtype = matrix.reshape(-1).numpy(), result.numpy().dtype
    with threads(numbers.size) as spans:
        scratch = aligned(spans * len(chosen) * lanes, dtype).reshape(spans, -1)
        starts = chosen * matrix.shape[1]
        _reduce(numbers, starts, scales.astype(dtype), comparators * lanes, ranks, scratch, result.numpy())
    return result


@kernel(parallel=True)
def _reduce(numbers, starts, factors, comparators, ranks, scratch, result):  # noqa: PLR0917
    lanes = scratch.shape[1] // len(starts)
    blocks = (len(result) + lanes - 1) // lanes
    for span in prange(len(scratch)):
        for block in range(blocks * span // len(scratch), blocks * (span + 1) // len(scratch)):
            column = min(block * lanes, len(result) - lanes)  # the last block overlaps the one before
            _sort_block(numbers, starts + column, factors, comparators, scratch[span])
            if ranks[2] == 0:
                average_rows(scratch[span], ranks[0] * lanes, (ranks[1] - 1) * lanes, result, column)
            else:
                _average_near_median(scratch[span], lanes, ranks, result[column : column + lanes])


@kernel()
def _sort_block(numbers, starts, factors, comparators, scratch):
    lanes = len(scratch) // len(starts)
    whole = len(starts) // GROUP * GROUP
    for row in range(0, whole, GROUP):
        load_sorted(numbers, starts, factors, row, scratch)
    for row in range(whole, len(starts)):
        load_row(numbers, starts[row], factors[row], scratch, row * lanes)
    for i in range(len(comparators)):
        exchange(scratch, comparators[i, 0], comparators[i, 1])


@kernel()
def _average_near_median(rows, lanes, ranks, result):
    """The `count` nearest are neighbors in rank: move the window up while the value above it is nearer."""
    low, high, count = ranks
    table = rows.reshape(-1, lanes)
    middle = table[(len(table) - 1) // 2] / 2 + table[len(table) // 2] / 2  # their sum could overflow
    zero, one = rows.dtype.type(0), rows.dtype.type(1)
    first = np.full(lanes, low, rows.dtype)  # numbers of one width keep the loops in vector registers
    for i in range(low, high - count):
        below, above = table[i], table[i + count]
        for c in range(lanes):
            first[c] += one if above[c] - middle[c] < middle[c] - below[c] else zero
    result[:] = 0
    for i in range(low, high):
        row, rank, before = table[i], rows.dtype.type(i), rows.dtype.type(i - count)
        for c in range(lanes):
            result[c] += row[c] if before < first[c] <= rank else zero
    for c in range(lanes):
        result[c] /= rows.dtype.type(count)

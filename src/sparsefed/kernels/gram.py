"""Inner products and squared distances of all pairs of rows, half of them computed, the rest by symmetry.

A distance is summed up from the differences themselves, not from inner products: identical rows are at
distance exactly 0, close rows keep their digits, and nothing is ever negative. On processors with separate
units for sums and products it costs no more. 768 columns at a time, of which two tiles fit the first cache
and all rows the second; their sums are added up in float64. Cost for 100 clients: about ten read passes of
the matrix.
"""

# pyright: reportCallIssue=false
# numba itself gives an intrinsic its first argument

from collections.abc import Callable

import numpy as np
import torch
from numba import prange
from torch import Tensor

from sparsefed.core.types import Matrix, PerClient
from sparsefed.kernels.compiled import kernel, runs_compiled, threads
from sparsefed.kernels.finite import all_finite
from sparsefed.kernels.intrinsics.rows import ROW_BYTES, aligned, load_row
from sparsefed.kernels.intrinsics.tiles import TILE, difference_tile, product_tile

__all__ = ["gram", "squared_distances"]

_COLUMNS = 768
_WORTH_COMPILED = 1 << 15
_MOST_PARTS, _MOST_PART_NUMBERS = 16, 1 << 24


def gram(matrix: Matrix) -> Tensor:
    """Inner products of all pairs of rows, `[clients, clients]`, in float64 and within its range."""
    products = _gram(matrix)
    if not all_finite(products) and all_finite(matrix):
        products = torch.where(products.isfinite(), products, _scaled(_gram, matrix))
    return products


def _gram(matrix: Matrix) -> Tensor:
    if runs_compiled(matrix, at_least=_WORTH_COMPILED):
        return _all_pairs(matrix, None, distances=False)
    total = torch.zeros(len(matrix), len(matrix), dtype=torch.float64, device=matrix.device)
    for block in matrix.split(_columns_at_a_time(matrix), dim=1):
        total += (block @ block.T).double()
    return total


def squared_distances(matrix: Matrix, factors: PerClient | None = None) -> Tensor:
    """Squared ℓ2 distances of all pairs of rows, `[clients, clients]`, in float64.

    `factors` multiply the rows. Exactly 0 for identical rows of equal factor, never negative, and finite for
    finite rows: the largest float64 stands for what exceeds it.
    """
    distances = _distances(matrix, factors)
    if not all_finite(distances) and all_finite(matrix):
        scaled = _scaled(lambda block: _distances(block, factors), matrix)
        distances = torch.where(distances.isfinite(), distances, scaled)
    return distances


def _distances(matrix: Matrix, factors: PerClient | None = None) -> Tensor:
    if runs_compiled(matrix, at_least=_WORTH_COMPILED):
        return _all_pairs(matrix, factors, distances=True)
    least = torch.float64 if matrix.device.type == "cpu" else torch.float32  # a GPU may be slow in float64
    wide = torch.promote_types(matrix.dtype, least)
    total = torch.zeros(len(matrix), len(matrix), dtype=torch.float64, device=matrix.device)
    for block in matrix.split(_columns_at_a_time(matrix), dim=1):
        rows = (block if factors is None else block * factors.to(block)[:, None]).to(wide)
        total += torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").double().square()
    return total


def _scaled(pairs: Callable[[Matrix], Tensor], matrix: Matrix) -> Tensor:
    """What `pairs` finds of the rows over their largest number, times its square, within float64's range."""
    largest = matrix.abs().max().double()
    limit = torch.finfo(torch.float64).max
    total = torch.zeros(len(matrix), len(matrix), dtype=torch.float64, device=matrix.device)
    for block in matrix.split(_columns_at_a_time(matrix), dim=1):
        total += pairs(block.double() / largest)
    return (total * largest * largest).clamp(-limit, limit)


def _columns_at_a_time(matrix: Matrix) -> int:
    return max(1, (1 << 26) // max(1, len(matrix)))


def _all_pairs(matrix: Matrix, factors: PerClient | None, distances: bool) -> Tensor:
    """The columns are cut into parts in the same way for any number of threads, so the sums are the same."""
    rows, numbers = len(matrix), matrix.numpy()
    tiles = -(-rows // TILE)
    parts = max(2, min(_MOST_PARTS, _MOST_PART_NUMBERS // rows**2))
    sums = np.zeros((parts, tiles, tiles, TILE * TILE))
    scales = np.ones(rows, numbers.dtype) if factors is None else factors.numpy().astype(numbers.dtype)
    with threads(numbers.size) as spans:
        scratch = aligned(spans * tiles * TILE * _COLUMNS, numbers.dtype).reshape(spans, -1)
        _add_pairs(numbers, scales, distances, scratch, sums)
    total = sums.sum(axis=0).reshape(tiles, tiles, TILE, TILE).swapaxes(1, 2).reshape(tiles * TILE, -1)
    upper = np.triu(total[:rows, :rows])
    return torch.from_numpy(upper + np.triu(upper, 1).T)


@kernel(parallel=True)
def _add_pairs(matrix, factors, distances, scratch, sums):
    """Sums over the columns of part p to `sums[p]`, for all pairs of tiles above the diagonal."""
    parts, blocks = len(sums), (matrix.shape[1] + _COLUMNS - 1) // _COLUMNS
    for span in prange(len(scratch)):
        for part in range(parts * span // len(scratch), parts * (span + 1) // len(scratch)):
            for block in range(blocks * part // parts, blocks * (part + 1) // parts):
                _load_block(matrix, block * _COLUMNS, factors, scratch[span])
                _add_block(scratch[span], distances, sums[part])


@kernel()
def _load_block(matrix, start, factors, scratch):
    """Scaled rows, `_COLUMNS` numbers each; zeros, which add nothing, where the matrix has ended."""
    numbers, lanes = matrix.reshape(-1), ROW_BYTES // matrix.itemsize
    width = min(_COLUMNS, matrix.shape[1] - start)
    whole = width // lanes * lanes
    for row in range(len(scratch) // _COLUMNS):
        first = row * _COLUMNS
        if row >= len(matrix):
            scratch[first : first + _COLUMNS] = 0
            continue
        for column in range(0, whole, lanes):
            load_row(numbers, row * matrix.shape[1] + start + column, factors[row], scratch, first + column)
        for column in range(whole, width):
            scratch[first + column] = matrix[row, start + column] * factors[row]
        scratch[first + width : first + _COLUMNS] = 0


@kernel()
def _add_block(scratch, distances, sums):
    for i in range(len(sums)):
        for j in range(i, len(sums)):
            a, b = TILE * _COLUMNS * i, TILE * _COLUMNS * j
            if distances:
                difference_tile(scratch, a, b, _COLUMNS, sums[i, j])
            else:
                product_tile(scratch, a, b, _COLUMNS, sums[i, j])

"""The count sketch (Charikar et al., 2002): r signed, hashed copies of a vector, each in c cells.

Nothing is stored but r keys: places and signs are computed on the fly, for 32 neighbors at a time
(`sparsefed.kernels.hashes`), so that the work is adding short rows to a table that fits the cache.
"""

# pyright: reportCallIssue=false
# numba itself gives an intrinsic its first argument

import numpy as np
import torch
from numba import prange
from torch import Tensor

from sparsefed.core.types import Vector
from sparsefed.kernels.add_at import add_at
from sparsefed.kernels.compiled import kernel, runs_compiled, threads
from sparsefed.kernels.hashes import (
    STRETCH,
    add_signed,
    hash_keys,
    load_signed,
    mixed,
    places_and_signs,
    start_of,
)
from sparsefed.kernels.intrinsics.networks import network
from sparsefed.kernels.intrinsics.rows import ROW_BYTES, aligned, average_rows, exchange
from sparsefed.kernels.top_k import top_k

__all__ = ["CountSketch"]

_WORTH_COMPILED = 1 << 14
_PARTS = 2  # the vector is added up in two halves for any number of threads, so the rounding is the same


class CountSketch:
    """`rows` tables of `columns` cells for vectors of `size` coordinates; the hashes follow from `seed`.

    CPU and GPU, float32 and float64 share the hashes, so their tables may be added and compared.
    """

    def __init__(self, rows: int, columns: int, size: int, seed: int) -> None:
        self.rows, self.columns, self.size = rows, columns, size
        self._keys = hash_keys(seed, rows)

    def accumulate(self, vector: Vector) -> Tensor:
        """The sketch of a vector, `[rows, columns]`; linear in the vector."""
        if not runs_compiled(vector, at_least=_WORTH_COMPILED):
            return self._literal_accumulate(vector)
        values = vector.detach().numpy()
        parts = np.zeros((_PARTS, self.rows, self.columns + STRETCH), values.dtype)
        with threads(values.size):
            _accumulate(values, self._keys, parts)
        table, beyond = np.split(parts.sum(axis=0), [self.columns], axis=1)
        for cell in range(STRETCH):  # stretches that ran over the end continue at the beginning
            table[:, cell % self.columns] += beyond[:, cell]
        return torch.from_numpy(np.ascontiguousarray(table))

    def estimate(self, table: Tensor) -> Vector:
        """Every coordinate's estimate: the median over rows of its signed cell."""
        if not runs_compiled(table) or self.size < _WORTH_COMPILED:
            return self._literal_estimate(table)
        cells = table.detach().numpy()
        again = np.arange(self.columns, self.columns + STRETCH) % self.columns
        cells = np.concatenate([cells, cells[:, again]], axis=1)
        lanes = ROW_BYTES // cells.itemsize
        estimates = np.empty(-(-self.size // lanes) * lanes, cells.dtype)
        middle = (self.rows - 1) // 2, self.rows // 2
        comparators = network(self.rows, middle[0], middle[1] + 1, ordered=False)
        with threads(self.size) as spans:
            scratch = aligned(spans * self.rows * lanes, cells.dtype).reshape(spans, -1)
            _estimate(cells, self._keys, comparators * lanes, scratch, estimates)
        return torch.from_numpy(estimates[: self.size])

    def top_k(self, table: Tensor, k: int) -> tuple[Tensor, Vector]:
        """The k coordinates whose estimates are largest in magnitude, and those estimates."""
        estimates = self.estimate(table)
        chosen = top_k(estimates, k)
        return chosen, estimates[chosen]

    def cells(self, indices: Tensor) -> Tensor:
        """The column that each of the coordinates touches in each row, `[rows, k]`."""
        return torch.stack([places_and_signs(key, indices, self.columns)[0] for key in self._keys])

    def _literal_accumulate(self, vector: Vector) -> Tensor:
        table = vector.new_zeros(self.rows, self.columns)
        for row, cells, negative in self._hashed(vector.device):
            add_at(table[row], cells, torch.where(negative, -vector, vector))
        return table

    def _literal_estimate(self, table: Tensor) -> Vector:
        signed = table.new_empty(self.rows, self.size)
        for row, cells, negative in self._hashed(table.device):
            values = table[row][cells]
            signed[row] = torch.where(negative, -values, values)
        ranked = signed.sort(dim=0).values
        return (ranked[(self.rows - 1) // 2] + ranked[self.rows // 2]) / 2

    def _hashed(self, device: torch.device):
        everyone = torch.arange(self.size, device=device)
        for row, key in enumerate(self._keys):
            yield row, *places_and_signs(key, everyone, self.columns)


@kernel(parallel=True)
def _accumulate(values, keys, parts):
    count, columns = (len(values) + STRETCH - 1) // STRETCH, parts.shape[2] - STRETCH
    for task in prange(len(parts) * len(keys)):
        part, row = task // len(keys), task % len(keys)
        table = parts[part, row]
        for stretch in range(count * part // len(parts), count * (part + 1) // len(parts)):
            bits, first = mixed(keys[row], stretch), stretch * STRETCH
            start = start_of(bits, columns)
            if first + STRETCH <= len(values):
                add_signed(table, start, values, first, bits)
                continue
            for i in range(len(values) - first):
                negative = bits >> np.uint64(i) & np.uint64(1)
                table[start + i] += -values[first + i] if negative else values[first + i]


@kernel(parallel=True)
def _estimate(cells, keys, comparators, scratch, estimates):
    lanes, columns = scratch.shape[1] // len(keys), cells.shape[1] - STRETCH
    blocks, middle = len(estimates) // lanes, ((len(keys) - 1) // 2 * lanes, len(keys) // 2 * lanes)
    flat = cells.reshape(-1)
    for span in prange(len(scratch)):
        rows = scratch[span]
        for block in range(blocks * span // len(scratch), blocks * (span + 1) // len(scratch)):
            for row in range(len(keys)):
                for part in range(0, lanes, STRETCH):
                    bits = mixed(keys[row], (block * lanes + part) // STRETCH)
                    place = row * cells.shape[1] + start_of(bits, columns)
                    load_signed(flat, place, bits, rows, row * lanes + part)
            for i in range(len(comparators)):
                exchange(rows, comparators[i, 0], comparators[i, 1])
            average_rows(rows, middle[0], middle[1], estimates, block * lanes)

"""The count sketch (Charikar et al., 2002): r hashed copies of a vector, each in c cells."""

import numpy as np
import torch
from torch import Tensor

from sparsefed.kernels.top_k import top_k
from sparsefed.types import Vector

__all__ = ["CountSketch"]


class CountSketch:
    """`rows` tables of `columns` cells for vectors of `size` coordinates; the hashes follow from `seed`."""

    def __init__(self, rows: int, columns: int, size: int, seed: int) -> None:
        self.rows, self.columns, self.size = rows, columns, size
        draw = np.random.default_rng(seed)
        self._cells = torch.from_numpy(draw.integers(columns, size=(rows, size)))
        self._signs = torch.from_numpy(draw.integers(2, size=(rows, size)) * 2.0 - 1.0)

    def accumulate(self, vector: Vector) -> Tensor:
        """The sketch of a vector, `[rows, columns]`; linear in the vector."""
        table = vector.new_zeros(self.rows, self.columns)
        return table.scatter_add(1, self._cells, self._signs.to(vector.dtype) * vector)

    def estimate(self, table: Tensor) -> Vector:
        """Every coordinate's estimate: the median over rows of its signed cell."""
        return torch.median(table.gather(1, self._cells) * self._signs.to(table.dtype), dim=0).values

    def top_k(self, table: Tensor, k: int) -> tuple[Tensor, Vector]:
        """The k coordinates whose estimates are largest in magnitude, and those estimates."""
        estimates = self.estimate(table)
        chosen = top_k(estimates, k)
        return chosen, estimates[chosen]

    def cells(self, indices: Tensor) -> Tensor:
        """The column that each of the coordinates touches in each row, `[rows, k]`."""
        return self._cells[:, indices]

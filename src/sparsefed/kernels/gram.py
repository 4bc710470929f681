"""Inner products and squared distances of all pairs of rows."""

import torch
from torch import Tensor

from sparsefed.types import Matrix, PerClient

__all__ = ["gram", "squared_distances"]


def gram(matrix: Matrix) -> Tensor:
    """Inner products of all pairs of rows, `[clients, clients]`."""
    return matrix @ matrix.T


def squared_distances(matrix: Matrix, factors: PerClient | None = None) -> Tensor:
    """Squared ℓ2 distances of all pairs of rows, `[clients, clients]`; exactly 0 for identical rows."""
    rows = matrix if factors is None else matrix * factors[:, None]
    return torch.stack([(rows - row).square().sum(dim=1) for row in rows])

"""Norms and weighted sums that stay finite wherever the numbers they are made of are finite.

A float32 row of norm 1.8·10¹⁹ has squares that float32 cannot hold, and a sum can overflow although the mean
does not. The fast path is PyTorch's; only what comes out infinite, or too small to trust, is computed again
with care.
"""

import torch
from torch import Tensor

from sparsefed.core.types import Matrix, PerClient, Vector

__all__ = ["all_finite", "row_norms", "weighted_sum", "with_norm"]

_NUMBERS_AT_A_TIME = 1 << 24
_LARGEST = torch.finfo(torch.float64).max


def all_finite(vector: Tensor) -> bool:
    """Whether every number is finite; one read pass, in most cases only a sum."""
    return bool(vector.sum().isfinite()) or bool(vector.isfinite().all())


def row_norms(matrix: Matrix) -> PerClient:
    """The ℓ2 norm of every row, in float64; not finite only where the row is not.

    A norm that exceeds the largest float64 counts as that number.
    """
    norms = torch.linalg.vector_norm(matrix, dim=1).double()
    limits = torch.finfo(matrix.dtype)
    least = (max(1, matrix.shape[1]) * limits.tiny / limits.eps) ** 0.5  # below, squares lose digits
    for row in (~((norms >= least) & norms.isfinite())).nonzero()[:, 0].tolist():
        norms[row] = _careful_norm(matrix[row])
    return norms


def with_norm(row: Vector, norm: float) -> Vector:
    """A row of any finite length, scaled to the ℓ2 norm `norm`."""
    unit = row.double() / row.abs().max().double()
    return (unit * (norm / torch.linalg.vector_norm(unit))).to(row.dtype)


def weighted_sum(weights: PerClient, matrix: Matrix) -> Vector:
    """Σ wᵢ rowᵢ, in the matrix's type and finite wherever that type can hold it; weights are float64."""
    total = weights.to(matrix) @ matrix
    if all_finite(total):
        return total
    mass = weights.abs().sum()
    shares = weights / mass if bool(mass > 0) else weights  # no partial sum exceeds the largest number
    columns = max(1, _NUMBERS_AT_A_TIME // max(1, len(matrix)))
    blocks = matrix.split(columns, dim=1)
    return torch.cat([(shares @ block.double() * mass).to(matrix.dtype) for block in blocks])


def _careful_norm(row: Vector) -> Tensor:
    if row.numel() == 0:
        return row.new_zeros(())
    largest = row.abs().max().double()
    if not bool(largest > 0) or not bool(largest.isfinite()):
        return largest
    return (largest * torch.linalg.vector_norm(row.double() / largest)).clamp(max=_LARGEST)

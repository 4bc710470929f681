"""Norms and weighted sums that stay finite, and keep their digits, wherever the numbers they are made of do.

A float32 row of norm 1.8·10¹⁹ has squares that float32 cannot hold, and a sum can overflow although the mean
does not. The fast path is PyTorch's; only what comes out infinite, or too small to trust, is computed again
with care. PyTorch adds up float32 squares in float32, one after the other: the norm of 6.6 million equal
numbers comes out 0.6 % short, and a client that knows this exceeds its clip. So squares are added up in
float32 within blocks of `BLOCK` numbers, and in float64 from block to block.
"""

import torch
from torch import Tensor

from sparsefed.core.types import Matrix, PerClient, Vector

__all__ = ["all_finite", "norm_of", "row_norms", "row_squares", "weighted_sum", "with_norm"]

BLOCK = 128
"""How many float32 squares are added up in float32. PyTorch adds in at least eight lanes, so none of the
sums has more than 16 + 3 steps, each wrong by at most 2⁻²⁴: a norm is off by less than 10⁻⁶ of itself."""

_NUMBERS_AT_A_TIME = 1 << 24
_LARGEST = torch.finfo(torch.float64).max


def all_finite(vector: Tensor) -> bool:
    """Whether every number is finite; one read pass, in most cases only a sum."""
    return bool(vector.sum().isfinite()) or bool(vector.isfinite().all())


def row_norms(matrix: Matrix) -> PerClient:
    """The ℓ2 norm of every row, in float64, right to 10⁻⁶ of itself; not finite only where the row is not.

    A norm that exceeds the largest float64 counts as that number.
    """
    wide = matrix.dtype == torch.float64
    norms = torch.linalg.vector_norm(matrix, dim=1) if wide else row_squares(matrix).sqrt()
    limits = torch.finfo(matrix.dtype)
    least = (max(1, matrix.shape[1]) * limits.tiny / limits.eps) ** 0.5  # below, squares lose digits
    for row in (~((norms >= least) & norms.isfinite())).nonzero()[:, 0].tolist():
        norms[row] = _careful_norm(matrix[row])
    return norms


def row_squares(matrix: Matrix) -> PerClient:
    """The sum of squares of every row, in float64; not finite where float32 cannot hold those of a block."""
    matrix = matrix if matrix.stride(1) == 1 else matrix.contiguous()  # other strides are added in one lane
    whole = matrix.shape[1] // BLOCK * BLOCK
    blocks = torch.linalg.vector_norm(matrix[:, :whole].unflatten(1, (-1, BLOCK)), dim=2)
    rest = torch.linalg.vector_norm(matrix[:, whole:], dim=1)
    return blocks.double().square().sum(1) + rest.double().square()


def norm_of(vector: Vector) -> Tensor:
    """The ℓ2 norm of a vector, as precise as `row_norms`."""
    return row_norms(vector[None])[0]


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

"""Coordinate-wise order statistics over clients: trimmed mean, median, mean near the median."""

from torch import Tensor

from sparsefed.types import Matrix, PerClient, Vector

__all__ = ["mean_near_median", "median", "trimmed_mean"]


def _sorted(matrix: Matrix, factors: PerClient | None, indices: Tensor | None) -> Matrix:
    rows = matrix if factors is None else matrix * factors[:, None]
    return (rows if indices is None else rows[indices]).sort(dim=0).values


def trimmed_mean(
    matrix: Matrix, f: int, factors: PerClient | None = None, indices: Tensor | None = None
) -> Vector:
    """Per coordinate, the mean of what is left without the f smallest and the f largest values."""
    rows = _sorted(matrix, factors, indices)
    return rows[f : len(rows) - f].mean(dim=0)


def median(matrix: Matrix, factors: PerClient | None = None, indices: Tensor | None = None) -> Vector:
    """Per coordinate, the middle value; of an even number the average of the two middle values."""
    rows = _sorted(matrix, factors, indices)
    return (rows[(len(rows) - 1) // 2] + rows[len(rows) // 2]) / 2


def mean_near_median(
    matrix: Matrix, count: int, factors: PerClient | None = None, indices: Tensor | None = None
) -> Vector:
    """Per coordinate, the mean of the `count` values closest to the median."""
    rows = _sorted(matrix, factors, indices)
    middle = (rows[(len(rows) - 1) // 2] + rows[len(rows) // 2]) / 2
    nearest = (rows - middle).abs().topk(count, dim=0, largest=False).indices
    return rows.gather(0, nearest).mean(dim=0)

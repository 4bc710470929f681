"""Exact CPU kernels where PyTorch is far from the machine; on a GPU the same functions are PyTorch."""

from sparsefed.kernels.add_at import add_at
from sparsefed.kernels.count_sketch import CountSketch
from sparsefed.kernels.finite import all_finite, norm_of, row_norms, row_squares, weighted_sum, with_norm
from sparsefed.kernels.gram import gram, squared_distances
from sparsefed.kernels.order_statistics import mean_near_median, median, trimmed_mean
from sparsefed.kernels.server_step import accumulate
from sparsefed.kernels.top_k import top_k

__all__ = [
    "CountSketch",
    "accumulate",
    "add_at",
    "all_finite",
    "gram",
    "mean_near_median",
    "median",
    "norm_of",
    "row_norms",
    "row_squares",
    "squared_distances",
    "top_k",
    "trimmed_mean",
    "weighted_sum",
    "with_norm",
]

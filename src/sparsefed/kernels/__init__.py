"""Exact CPU kernels where PyTorch is far from the machine; on a GPU the same functions are PyTorch."""

from sparsefed.kernels.count_sketch import CountSketch
from sparsefed.kernels.gram import gram, squared_distances
from sparsefed.kernels.order_statistics import mean_near_median, median, trimmed_mean
from sparsefed.kernels.server_step import accumulate
from sparsefed.kernels.top_k import top_k

__all__ = [
    "CountSketch",
    "accumulate",
    "gram",
    "mean_near_median",
    "median",
    "squared_distances",
    "top_k",
    "trimmed_mean",
]

"""The index set of the k largest magnitudes of a vector."""

import torch
from torch import Tensor

from sparsefed.types import Vector

__all__ = ["top_k"]


def top_k(vector: Vector, k: int) -> Tensor:
    """Indices of the k coordinates of largest magnitude, in no order; ties go to any of the tied."""
    return torch.topk(vector.abs(), k, sorted=False).indices

"""Add values at places that repeat, in an order that is always the same: each device has one such way."""

from torch import Tensor

__all__ = ["add_at"]


def add_at(target: Tensor, places: Tensor, values: Tensor) -> None:
    """`target[places[i]] += values[i]` for every i, in place; `values` are as wide as `target`."""
    if target.is_cuda:
        target.index_put_((places,), values, accumulate=True)
    else:
        target.index_add_(0, places, values)

"""A data set seen through a fixed function of its inputs, computed once and kept on disk."""

import hashlib
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from sparsefed.core.errors import DataError
from sparsefed.data.dataset import Dataset
from sparsefed.data.formats.files import keep, kept

__all__ = ["mapped"]

BATCH = 500
"""Examples that go through the function at once."""


def mapped(dataset: Dataset, features: Callable[[Tensor], Tensor]) -> Dataset:
    """The same examples as features `[n, m]`, for models that train only what comes after them.

    Raises DataError where training changes the examples at random: there would be no once.
    """
    if dataset.augment is not None:
        raise DataError(f"{dataset.source}: expected data without `augment` for frozen features, found some")
    train, test = (
        split._replace(x=_through(features, dataset.inputs, split.x))
        for split in (dataset.train, dataset.test)
    )
    return replace(dataset, train=train, test=test, mean=None, std=None)


def _through(features: Callable[[Tensor], Tensor], inputs: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The features of all examples `x`, known by these and by what the function makes of the first."""
    first = features(inputs(x[:BATCH]))
    key = hashlib.sha256(x.cpu().numpy().tobytes() + first.cpu().numpy().tobytes()).hexdigest()
    known = kept(key)
    if known is not None:
        return torch.from_numpy(known).to(x.device)
    made = torch.cat([first, *(features(inputs(part)) for part in x[BATCH:].split(BATCH))])
    keep(key, made.cpu().numpy())
    return made

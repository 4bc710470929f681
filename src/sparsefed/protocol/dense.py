"""A round's updates from outside: read, checked, and made into a matrix."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from sparsefed.core.errors import UpdateError
from sparsefed.core.types import Matrix, Vector
from sparsefed.kernels import all_finite
from sparsefed.protocol.aside import Aside
from sparsefed.protocol.claims import doubled, read_claims, read_ids
from sparsefed.protocol.received import read_updates, shapes_of
from sparsefed.protocol.report import Roll
from sparsefed.protocol.updates import Dense

__all__ = ["dense"]


def dense(
    updates: Any,
    weights: Any = None,
    clients: Sequence[Any] | np.ndarray | None = None,
    size: int | None = None,
    *,
    like: Any = None,
    own: Any = None,
    layers: Sequence[int] | None = None,
) -> Dense:
    """A round's updates for your own training loop.

    `updates` is a matrix of floats `[clients, params]`, or a list with a vector or a list of layer arrays for
    each client; NumPy arrays and tensors alike. `like` is your model as a vector or as a list of its arrays:
    updates must have its shapes. `size` is how many parameters an update must have, in arrays of any shape.
    Without either, the shapes that most clients of a list sent are the right ones.

    `weights` is how much each client counts in the mean, such as its number of examples. Rules that compare
    clients or add noise refuse weights. `clients` are your own ids for the report, by default positions.

    A client is left out, and `report()` says why, if its item of a list has another shape or is not made of
    floats, if its weight is not finite or below 0, and if its id stands there already. Raises `UpdateError`
    where nothing can be made of the updates, the weights or the ids.
    """
    shapes = None if like is None else shapes_of(like)
    sizes = None if shapes is None else tuple(math.prod(shape) for shape in shapes)
    if sizes is not None and size is not None and size != sum(sizes):
        raise UpdateError(f"`size`: expected the {sum(sizes)} parameters of `like`, or none, found {size}")
    read = read_updates(updates, size if sizes is None else sum(sizes), shapes)
    count = len(read.present) + len(read.problems)
    ids = read_ids(clients, count)
    claims, problems = (None, {}) if weights is None else read_claims(weights, count)
    read = read.without({**problems, **doubled(ids)})
    left_out = {position: (math.nan, problem) for position, problem in read.problems.items()}
    roll = Roll(ids, read.present, None, left_out)
    if claims is not None:
        claims = claims[torch.from_numpy(read.present)].to(read.matrix.device)
    layers = sizes if layers is None and shapes is not None and len(shapes) > 1 else layers
    numbers = None if clients is None else _numbers(ids, read.present)
    beside = Aside(numbers, _own(own, read.matrix), _layers(layers, read.matrix), count)
    return Dense(read.matrix, weights=claims, roll=roll, aside=beside)


def _numbers(ids: list[Any], present: np.ndarray) -> np.ndarray | None:
    whole = all(isinstance(name, int | np.integer) and abs(int(name)) < 1 << 63 for name in ids)
    return np.array(ids, np.int64)[present] if whole else None


def _own(own: Any, matrix: Matrix) -> Vector | None:
    if own is None:
        return None
    found = read_updates([own], matrix.shape[1]).matrix
    if len(found) == 0 or not all_finite(found):
        raise UpdateError(f"`own`: expected {matrix.shape[1]} finite numbers, found something else")
    return found[0].to(matrix)


def _layers(layers: Sequence[int] | None, matrix: Matrix) -> tuple[int, ...] | None:
    if layers is not None and sum(layers) != matrix.shape[1]:
        raise UpdateError(f"`layers`: expected sizes that add up to {matrix.shape[1]}, found {sum(layers)}")
    return None if layers is None else tuple(layers)

"""Reading what is said of a round's clients: their ids, and how much each of them counts.

What may come from a client costs that client its round: a weight that is none, and a second update.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsefed.core.errors import UpdateError
from sparsefed.core.text import amount, named_type, one_line
from sparsefed.core.types import PerClient

__all__ = ["doubled", "read_claims", "read_ids", "read_weights"]


def read_weights(weights: Any, clients: int) -> PerClient:
    """A finite weight of at least 0 for each client, in float64, from numbers of any type and form."""
    numbers = _numbers_of(weights, clients)
    bad = ~((numbers >= 0) & numbers.isfinite())
    if bool(bad.any()):
        raise UpdateError(f"expected weights that are finite and at least 0, found {float(numbers[bad][0])}")
    return numbers


def _numbers_of(weights: Any, clients: int) -> PerClient:
    try:
        array = np.asarray(weights.detach().double().cpu() if isinstance(weights, Tensor) else weights)
    except (TypeError, ValueError, RuntimeError):  # ragged, sparse
        array = np.array(None)
    if array.dtype.kind not in "fiub":
        found = f"{type(weights).__name__} {one_line(weights, 60)}"
        raise UpdateError(f"expected {amount(clients, 'weight')}, found {found}")
    numbers = torch.from_numpy(array.astype(np.float64))
    if numbers.shape != (clients,):
        raise UpdateError(f"expected {amount(clients, 'weight')}, found shape {tuple(numbers.shape)}")
    return numbers


def read_claims(weights: Any, clients: int) -> tuple[PerClient, dict[int, str]]:
    """Weights that clients may have claimed; what was found in place of one, by position: it counts 0."""
    if not isinstance(weights, list | tuple):
        weights = _numbers_of(weights, clients).tolist()
    if len(weights) != clients:
        raise UpdateError(f"expected {amount(clients, 'weight')}, found {len(weights)}")
    numbers = [_number(weight) for weight in weights]
    problems = {
        position: f"expected a finite weight of at least 0, found {number}"
        for position, number in enumerate(numbers)
        if isinstance(number, str) or not 0 <= number < math.inf
    }
    sound = [0.0 if position in problems else number for position, number in enumerate(numbers)]
    return torch.tensor(sound, dtype=torch.float64), problems


def _number(value: Any) -> float | str:
    """A float, or in words what was found in its place."""
    try:
        return named_type(value) if isinstance(value, str | bytes) else float(value)
    except Exception:  # `__float__` is anyone's code
        return named_type(value)


def read_ids(clients: Sequence[Any] | np.ndarray | None, count: int) -> list[Any]:
    """The caller's own name for each client; their positions if it gives none."""
    ids = list(range(count)) if clients is None else list(clients)
    if len(ids) != count:
        raise UpdateError(f"expected {count} client ids, found {len(ids)}")
    return ids


def doubled(ids: Sequence[Any]) -> dict[int, str]:
    """Positions of ids that stand there already, and what is wrong with them: the first one counts.

    Ids are the same if they read the same, so that a client is not two by being 1 and "1".
    """
    seen, problems = set[str](), {}
    for position, name in enumerate(map(str, ids)):
        if name in seen:
            problems[position] = f"expected one update per client, found another from {name}"
        seen.add(name)
    return problems

"""What parts of other people's making hand to the federation, checked before it is used."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from sparsefed.attacks import Method
from sparsefed.core.errors import SpecError
from sparsefed.core.spec import Spec
from sparsefed.core.types import Vector
from sparsefed.defenses import Defense
from sparsefed.protocol.updates import Dense

__all__ = ["affordable", "rule_step", "uploads"]


@contextmanager
def affordable(part: Spec) -> Iterator[None]:
    """Sizes beyond this machine as one line."""
    try:
        yield
    except (MemoryError, OverflowError, RuntimeError, TypeError) as problem:
        found = str(problem).partition("\n")[0]
        own = isinstance(problem, MemoryError | OverflowError)
        if not (own or re.search("alloc|overflow", found, re.IGNORECASE)):  # PyTorch has none of its own
            raise
        raise SpecError(f"{part!r} is too large for this machine: {found}") from None


def uploads(method: Method, poison: Any, count: int, params: Vector) -> Dense:
    """Hostile uploads, checked like any other: none of them is let in if they are of the wrong length.

    Raises `SpecError` where a method does not make one for each of its `count` clients.
    """
    rows = isinstance(poison, Tensor) and poison.ndim == 2
    if rows and len(poison) != count:
        needed = f"as many uploads as it has clients in the round, {count}"
        raise SpecError(f"{method!r} must craft {needed}, found {len(poison)}")
    if not rows or poison.shape[1] != len(params):
        return Dense(params.new_empty(0, len(params)))
    return Dense(poison.detach().to(params))


def rule_step(rule: Defense, step: Any, params: Vector) -> tuple[Vector, Any]:
    """What a rule's step returned, checked to be a change of `params` and a memory."""
    if not (isinstance(step, tuple | list) and len(step) == 2):
        raise SpecError(f"{rule!r} must step by (delta, memory), found a {type(step).__name__}")
    delta = step[0]
    if not (isinstance(delta, Tensor) and delta.shape == params.shape):
        found = f"shape {list(delta.shape)}" if isinstance(delta, Tensor) else f"a {type(delta).__name__}"
        raise SpecError(f"{rule!r} must step by a tensor of shape {list(params.shape)}, found {found}")
    return delta, step[1]

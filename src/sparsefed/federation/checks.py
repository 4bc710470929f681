"""What user-supplied parts return, converted or refused in one line before it is used."""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsefed.attacks import Method
from sparsefed.core.errors import SpecError, UpdateError, named
from sparsefed.core.memories import check_form, leaves, mapped
from sparsefed.core.spec import Spec
from sparsefed.core.text import named_type
from sparsefed.core.types import Vector
from sparsefed.defenses import Defense
from sparsefed.protocol.updates import Dense, Updates

__all__ = [
    "affordable",
    "check_cohort",
    "check_device",
    "first_memory",
    "left_alone",
    "next_memory",
    "number",
    "numbers",
    "rule_step",
    "uploads",
]


def check_device(device: str) -> None:
    """Refuse a GPU that is not there."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise SpecError(f"device `{device}` is not available: this machine's PyTorch sees no GPU")


def check_cohort(cohort: int, clients: int) -> None:
    """Refuse a cohort of more clients than there are."""
    if cohort > clients:
        raise SpecError(f"expected at most the {clients} clients that there are, found {cohort}")


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
    poison = torch.from_numpy(poison) if isinstance(poison, np.ndarray) else poison
    rows = isinstance(poison, Tensor) and poison.ndim == 2
    if rows and len(poison) != count:
        expected = f"expected one upload for each of its {count} clients in the round"
        raise SpecError(f"{method!r}: {expected}, found {len(poison)}")
    if not rows or poison.shape[1] != len(params):
        return Dense(params.new_empty(0, len(params)))
    return Dense(poison.detach().to(params))


def first_memory(part: Spec, memory: Any) -> Any:
    """What `init` returned, with NumPy's numbers as Python's and nothing that needs a gradient."""
    with named(f"{part!r}"):
        list(leaves(memory))
        return mapped(memory, lambda _, leaf: _plain(leaf))


def next_memory(part: Spec, before: Any, after: Any) -> Any:
    """The memory after a round, checked to have the form of the one before."""
    after = first_memory(part, after)
    with named(f"{part!r}"):
        check_form(before, after)
    return after


def rule_step(rule: Defense, updates: Updates, memory: Any, lr: float, params: Vector) -> tuple[Vector, Any]:
    """What a rule makes of a round: a change of `params`, in their type, and a memory.

    Raises `SpecError` where it returns anything else, and `UpdateError` where there is no update.
    """
    if updates.count == 0 and rule.needs_updates:
        raise UpdateError(f"{rule!r}: expected at least 1 update, found none")
    with left_alone(rule, memory):
        step = rule.step(updates, memory, lr)
    if not (isinstance(step, tuple | list) and len(step) == 2):
        raise SpecError(f"{rule!r}: expected a step (delta, memory), found {named_type(step)}")
    return _delta(rule, step[0], params), next_memory(rule, memory, step[1])


@contextmanager
def left_alone(part: Spec, memory: Any) -> Iterator[None]:
    """Raises `SpecError` where the memory is written to inside: a twin and a checkpoint may share it."""
    given = [(name, leaf, _version(leaf)) for name, leaf in leaves(memory)]
    yield
    for name, leaf, version in given:
        if _version(leaf) != version:
            raise SpecError(f"{part!r}: expected a new `{name}`, found the old one changed in place")


def _delta(rule: Defense, delta: Any, params: Vector) -> Vector:
    delta = torch.from_numpy(delta) if isinstance(delta, np.ndarray) else delta
    if not (isinstance(delta, Tensor) and delta.shape == params.shape and not delta.is_complex()):
        is_tensor = isinstance(delta, Tensor)
        found = f"{delta.dtype} of shape {list(delta.shape)}" if is_tensor else named_type(delta)
        raise SpecError(f"{rule!r}: expected a step of shape {list(params.shape)}, found {found}")
    return delta.detach().to_dense().to(params) if delta.is_sparse else delta.detach().to(params)


def numbers(rule: Defense, report: Any) -> dict[str, float | None]:
    """What a rule reports of its step (`Defense.diagnose`), as Python's numbers."""
    if not isinstance(report, dict) or any(not isinstance(key, str) for key in report):
        raise SpecError(f"{rule!r}: expected a diagnosis of numbers by name, found {report!r}")
    return {
        key: None if value is None else number(rule, f"diagnose: `{key}`", value)
        for key, value in report.items()
    }


def number(part: Spec, what: str, value: Any) -> float:
    """A number that a part of the user's own returned, as Python's."""
    if isinstance(value, Tensor | np.ndarray | np.generic) and math.prod(value.shape) == 1:
        value = value.item()
    if not isinstance(value, bool | int | float):
        raise SpecError(f"{part!r}: {what}: expected a number, found {value!r:.60}")
    return float(value)


def _plain(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return leaf.detach()
    return leaf.item() if isinstance(leaf, np.generic) else leaf


def _version(leaf: Any) -> Any:
    """A number that grows whenever a tensor is written to; an array's bytes."""
    if isinstance(leaf, Tensor):
        return 0 if leaf.is_inference() else leaf._version
    return leaf.tobytes() if isinstance(leaf, np.ndarray) else leaf

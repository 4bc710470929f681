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
from sparsefed.core.notices import Notice, notify
from sparsefed.core.spec import Spec
from sparsefed.core.text import amount, named_type
from sparsefed.core.types import Matrix, Vector
from sparsefed.defenses import Defense
from sparsefed.protocol.updates import Dense, Updates

__all__ = [
    "MisshapenUploads",
    "RejectedUploads",
    "affordable",
    "check_cohort",
    "use_device",
    "first_memory",
    "left_alone",
    "next_memory",
    "number",
    "numbers",
    "rule_step",
    "uploads",
]


class RejectedUploads(Notice):
    """A round in which every upload of the attackers is rejected."""


class MisshapenUploads(RejectedUploads):
    """Uploads that are not a matrix of the model's width, which no attacker can want."""


NO_ATTACK = "the server rejects them all, which is no attack"


def use_device(device: str, precision: str = "float32") -> None:
    """Refuse a GPU that is not available, and set how this process computes on one.

    PyTorch would let cuDNN add in any order, so that a run would not repeat itself, and round the factors of
    float32 convolutions to 10 bits (TF32). Here float32 is float32, and with `tf32` all products round.
    """
    if not device.startswith("cuda"):
        return
    if not torch.cuda.is_available():
        raise SpecError(
            f"expected a device that is available, found `{device}`: this machine's PyTorch sees no GPU"
        )
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.deterministic = True


def check_cohort(cohort: int, clients: int) -> None:
    """Refuse a cohort of more clients than there are."""
    if cohort > clients:
        raise SpecError(f"expected at most the {amount(clients, 'client')} that there are, found {cohort}")


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
        raise SpecError(f"{part!r}: expected a size that this machine holds, found {found}") from None


def uploads(method: Method, poison: Any, count: int, params: Vector) -> Dense:
    """Hostile uploads, checked like any other: none of them is let in if they are of the wrong length.

    Warns with `RejectedUploads` where none can be let in. Raises `SpecError` where a method does not make one
    for each of its `count` clients.
    """
    rows, expected = _as_rows(poison), f"finite uploads of shape [clients, {len(params)}]"
    if rows is not None and len(rows) != count:
        one_each = f"expected one upload for each of its {amount(count, 'client')} in the round"
        raise SpecError(f"{method!r}: {one_each}, found {len(rows)}")
    if rows is None or rows.shape[1] != len(params):
        notify(MisshapenUploads, f"{method!r}: expected {expected}, found {_found(poison)}: {NO_ATTACK}")
        return Dense(params.new_empty(0, len(params)))
    sent = Dense(rows.detach().to(params))
    if not bool(sent.norms().isfinite().any()):
        notify(RejectedUploads, f"{method!r}: expected {expected}, found none that is finite: {NO_ATTACK}")
    return sent


def _as_rows(poison: Any) -> Matrix | None:
    """What a method returned as a matrix of real numbers; None where it is none."""
    if isinstance(poison, np.ndarray) and poison.dtype.kind in "fiub":
        poison = torch.from_numpy(poison)
    if isinstance(poison, Tensor) and poison.ndim == 2 and not poison.is_complex():
        return poison
    return None


def first_memory(part: Spec, memory: Any) -> Any:
    """What `init` returned, with NumPy's numbers as Python's and nothing that needs a gradient."""
    with named(part):
        list(leaves(memory))
        return mapped(memory, lambda _, leaf: _plain(leaf))


def next_memory(part: Spec, before: Any, after: Any) -> Any:
    """The memory after a round, checked to have the form of the one before."""
    after = first_memory(part, after)
    with named(part):
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
        raise SpecError(f"{rule!r}: expected a step of shape {list(params.shape)}, found {_found(delta)}")
    return delta.detach().to_dense().to(params) if delta.is_sparse else delta.detach().to(params)


def _found(array: Any) -> str:
    """Type and shape of what was found in an array's place."""
    if not isinstance(array, Tensor | np.ndarray):
        return named_type(array)
    return f"{str(array.dtype).removeprefix('torch.')} of shape {list(array.shape)}"


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

"""The memory of a rule, an attacker or a clip: tensors and numbers in tuples, lists and dictionaries.

Between rounds it keeps its form: the same names, and under each the same kind of value, shape and type.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsefed.core.errors import SpecError
from sparsefed.core.text import named_type

__all__ = ["check_form", "leaves", "mapped"]


def leaves(memory: Any, name: str = "memory") -> Iterator[tuple[str, Any]]:
    """Every tensor, array and number of a memory, with its name; raises `SpecError` for anything else."""
    items = _items(memory)
    if items is not None:
        for key, value in items:
            yield from leaves(value, f"{name}.{key}")
    elif _can_be_kept(memory):
        yield name, memory
    elif memory is not None:
        found = named_type(memory)
        raise SpecError(f"`{name}`: expected dense tensors, arrays and numbers, found {found}")


def mapped(memory: Any, change: Callable[[str, Any], Any], name: str = "memory") -> Any:
    """A memory of the same form with `change(name, leaf)` in place of each leaf."""
    items = _items(memory)
    if items is None:
        return None if memory is None else change(name, memory)
    values = {key: mapped(value, change, f"{name}.{key}") for key, value in items}
    if isinstance(memory, dict):
        return values
    return type(memory)(**values) if hasattr(memory, "_fields") else type(memory)(values.values())


def check_form(before: Any, after: Any, name: str = "memory") -> None:
    """Raises `SpecError` where a memory has another form than before."""
    was, now = (dict(leaves(memory, name)) for memory in (before, after))
    for leaf in {**was, **now}:
        if _form(was, leaf) != _form(now, leaf):
            expected = f"expected the same form in every round, {_form(was, leaf)}"
            raise SpecError(f"`{leaf}`: {expected}, found {_form(now, leaf)}")
    if type(before) is not type(after):
        found = f"{type(before).__name__}, found {type(after).__name__}"
        raise SpecError(f"`{name}`: expected the same form in every round, {found}")


def _items(memory: Any) -> list[tuple[Any, Any]] | None:
    if isinstance(memory, dict):
        return list(memory.items())
    if isinstance(memory, tuple | list):
        return list(zip(getattr(memory, "_fields", range(len(memory))), memory, strict=True))
    return None


def _can_be_kept(leaf: Any) -> bool:
    if isinstance(leaf, Tensor):
        return leaf.layout is torch.strided and not leaf.is_complex()
    if isinstance(leaf, np.ndarray | np.generic):
        return leaf.dtype.kind in "biuf" and leaf.dtype.isnative and leaf.dtype.itemsize <= 8
    return isinstance(leaf, bool | int | float)


def _form(found: dict[str, Any], name: str) -> str:
    if name not in found:
        return "none"
    value = found[name]
    if isinstance(value, Tensor | np.ndarray):
        kind = "tensor" if isinstance(value, Tensor) else "array"
        return f"a {kind} {list(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    return named_type(value)

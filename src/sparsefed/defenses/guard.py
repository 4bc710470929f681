"""What holds of every rule's `init`, `step` and `diagnose`, also of a rule of your own.

NumPy in, NumPy out: a rule knows tensors only; where parameters, a state or a step come as arrays, arrays
are returned. And a step is finite: one that the server's precision cannot hold is refused.
"""

import math
from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import Any, get_type_hints

import numpy as np
import torch
from torch import Tensor

from sparsefed.core.errors import UpdateError
from sparsefed.core.text import named_type, one_line
from sparsefed.core.types import Vector
from sparsefed.kernels import all_finite
from sparsefed.protocol.received import as_tensor

__all__ = ["GUARDS", "restored", "with_arrays"]


def _init(method: Callable) -> Callable:
    """`init(params, …)` for any vector of floating-point numbers."""

    @wraps(method)
    def init(rule: Any, params: Any, *rest: Any, **named: Any) -> Any:
        state = method(rule, _vector(params), *rest, **named)
        return state if isinstance(params, Tensor) else _arrays(state)

    return init


def with_arrays(method: Callable) -> Callable:
    """`step(updates, state, …)`, or `diagnose`, for a state of tensors or of arrays."""

    @wraps(method)
    def step(rule: Any, updates: Any, state: Any, *rest: Any, **named: Any) -> Any:
        if not any(map(_has_arrays, (state, *rest, *named.values()))):
            return method(rule, updates, state, *rest, **named)
        named = {name: _tensors(value) for name, value in named.items()}
        return _arrays(method(rule, updates, _tensors(state), *map(_tensors, rest), **named))

    return step


def _finite_step(method: Callable) -> Callable:
    @wraps(method)
    def step(rule: Any, updates: Any, state: Any, *rest: Any, **named: Any) -> Any:
        _check_lr(rule, rest[0] if rest else named.get("lr", 1.0))
        if type(rule).step is guarded:  # not a subclass's `super().step`, which may hand over a part
            _check_state(rule, state)
        result = method(rule, updates, state, *rest, **named)
        delta = result[0] if isinstance(result, tuple) else None
        if isinstance(delta, Tensor) and delta.is_floating_point() and not all_finite(delta):
            kind = str(delta.dtype).removeprefix("torch.")
            raise UpdateError(f"{rule!r}: expected a step that {kind} can hold, found one that overflows")
        return result

    guarded = with_arrays(step)
    return guarded


@cache
def _memory_of(kind: type) -> type | None:
    """The NamedTuple that a kind of rule's `init` says it returns, if it says so."""
    try:
        said = get_type_hints(kind.init).get("return")  # pyright: ignore
    except Exception:  # an annotation of someone's own may be anything
        return None
    return said if isinstance(said, type) and hasattr(said, "_fields") else None


def _check_state(rule: Any, state: Any) -> None:
    memory = _memory_of(type(rule))
    if memory is not None and not isinstance(state, memory):
        fields = f" of {', '.join(state._fields)}" if hasattr(state, "_fields") else ""
        wanted = f"{memory.__name__} of {', '.join(memory._fields)}"
        raise UpdateError(
            f"{rule!r}: expected the state that `init` returns ({wanted}), found {named_type(state)}{fields}"
        )


def _check_lr(rule: Any, lr: Any) -> None:
    try:
        finite = math.isfinite(lr)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # no number, several, or beyond every float
        finite = False
    if not finite:
        raise UpdateError(f"{rule!r}: expected a finite number as `lr`, found {one_line(repr(lr), 60)}")


GUARDS: dict[str, Callable[[Callable], Callable]] = {
    "init": _init,
    "step": _finite_step,
    "diagnose": with_arrays,
}
"""What to put around the methods of these names."""


def restored(rule: Any, saved: Mapping[str, Any], fresh: Any) -> Any:
    """The state in `saved`, by name, in the form, precision and place of a `fresh` one."""
    if not (isinstance(saved, Mapping) and set(saved) == set(fresh._fields)):
        found = ", ".join(map(str, saved)) or "nothing" if isinstance(saved, Mapping) else named_type(saved)
        raise UpdateError(f"{rule!r}: expected a state of {', '.join(fresh._fields)}, found {found}")
    parts = {
        name: _restored(f"{rule!r}: `{name}`", saved[name], like) for name, like in fresh._asdict().items()
    }
    return type(fresh)(**parts)


def _restored(where: str, saved: Any, like: Any) -> Any:
    wanted = torch.from_numpy(like) if isinstance(like, np.ndarray) else like
    try:
        part = saved.detach() if isinstance(saved, Tensor) else torch.from_numpy(np.array(saved))
    except (TypeError, ValueError):
        raise UpdateError(f"{where}: expected numbers, found {named_type(saved)}") from None
    if part.shape != wanted.shape:
        raise UpdateError(f"{where}: expected shape {tuple(wanted.shape)}, found {tuple(part.shape)}")
    if part.is_floating_point() != wanted.is_floating_point() or part.is_complex():
        kinds = (str(kind).removeprefix("torch.") for kind in (wanted.dtype, part.dtype))
        raise UpdateError("{}: expected {}, found {}".format(where, *kinds))
    if not all_finite(part):
        raise UpdateError(f"{where}: expected finite numbers, found some that are not")
    exact, part = part, part.to(wanted, copy=True)
    if not torch.equal(part.to(exact), exact):
        kinds = (str(kind).removeprefix("torch.") for kind in (part.dtype, exact.dtype))
        raise UpdateError(
            "{}: expected numbers that {} can hold, found {} that it would round".format(where, *kinds)
        )
    return part.numpy() if isinstance(like, np.ndarray) else part


def _vector(params: Any) -> Vector:
    """The parameters as a plain vector; a rule looks at their number, type and device."""
    vector = as_tensor(params)
    if isinstance(vector, Tensor) and vector.ndim == 1:
        return vector
    found = vector if isinstance(vector, str) else f"shape {tuple(vector.shape)}"
    raise UpdateError(f"expected a vector of floating-point parameters, found {found}")


def _tensors(value: Any) -> Any:
    """Arrays, and the arrays in a state, as tensors of the same memory."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value if value.flags.writeable else value.copy())
    return _mapped(_tensors, value)


def _arrays(value: Any) -> Any:
    """Tensors, and the tensors in a state, as arrays of the same memory."""
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy()
    return _mapped(_arrays, value)


def _mapped(change: Callable[[Any], Any], value: Any) -> Any:
    if not isinstance(value, tuple):
        return value
    parts = map(change, value)
    return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)


def _has_arrays(value: Any) -> bool:
    return isinstance(value, np.ndarray) or (isinstance(value, tuple) and any(map(_has_arrays, value)))

"""What is wrong with a specification, as one line: which key, what was expected, what was found.

Pydantic finds the mistakes; its words are made for programmers and stay here.
"""

from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from sparsefed.core.errors import SpecError, did_you_mean, nearest
from sparsefed.core.kinds import described, family_of, found, unwrapped
from sparsefed.core.members import names

__all__ = ["spec_error", "unknown_key"]


def spec_error(spec: type[BaseModel], values: Mapping[str, Any], problem: ValidationError) -> SpecError:
    """The complaint that explains most: a misspelt key before the key that is missing because of it."""
    errors = problem.errors(include_url=False)
    complaints = [_complaint(spec, values, error) for error in errors]
    place = min(range(len(errors)), key=lambda place: not complaints[place].unknown_key)
    first = complaints[place]
    more = [
        str(error["loc"][-1]) for error in errors if error["type"] == "missing" and error != errors[place]
    ]
    if errors[place]["type"] == "missing" and more:
        first = SpecError(f"{first.complaint}; {spec.__name__} also needs {', '.join(more)}", first.path)
    return first.seen_from(spec.__name__)


def unknown_key(path: Sequence[str], keys: Sequence[str], owner: str) -> SpecError:
    """The complaint about a key, the last of `path`, that is none of the owner's `keys`."""
    has = ", ".join(keys) or "no keys"
    hint = did_you_mean(path[-1], [*keys, "type"]) or ";"
    return SpecError(f"unknown key{hint} {owner} has {has}", path, unknown_key=True)


def _complaint(spec: type[BaseModel], values: Mapping[str, Any], error: Any) -> SpecError:
    inner = error.get("ctx", {}).get("error")
    path, kind, value = _walked(spec, values, error["loc"])
    if isinstance(inner, SpecError):  # of a spec inside this one
        return inner.seen_from("", path)
    if error["type"] == "extra_forbidden":
        return unknown_key(path, list(spec.model_fields), spec.__name__)
    if isinstance(inner, ValueError | AssertionError):  # our own words, or those of a user's own spec
        return SpecError(" ".join(str(inner).split()), path)
    expected = _expected(*kind)
    if error["type"] == "missing":
        return SpecError(f"missing key; expected {expected}", path)
    return SpecError(f"expected {expected}, found {found(value)}{_as_type(kind[0], value)}", path)


def _walked(
    spec: type[BaseModel], values: Any, loc: Sequence[int | str]
) -> tuple[list[str], tuple[Any, list[Any]], Any]:
    """Follow `loc` into the values as far as the declared types go: the keys, the type there, the value."""
    path: list[str] = []
    kind: tuple[Any, list[Any]] = (Any, [])
    value = values
    for depth, step in enumerate(loc):
        if depth == 0:
            field = spec.model_fields.get(str(step))
            inside = (Any, []) if field is None else unwrapped(field.annotation, field.metadata)
        elif (item := _item(kind[0], step)) is not None:
            inside = unwrapped(item)
        else:
            break
        kind, value = inside, _at(value, step)
        path.append(str(step))
    return path, kind, value


def _item(annotation: Any, step: int | str) -> Any:
    """The type of one item of a list or of one value of a table; None where there is nothing inside."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is dict and step != "[key]":
        return parts[1]
    if origin in (list, tuple, set, frozenset) and isinstance(step, int):
        return parts[0] if len(parts) == 1 or parts[1] is Ellipsis else parts[step]
    return None


def _at(value: Any, step: int | str) -> Any:
    try:
        return value[step]
    except (KeyError, IndexError, TypeError):
        return None


def _expected(annotation: Any, metadata: list[Any]) -> str:
    family = family_of(annotation)
    if family is not None:
        return f"a table with a `type`: {names(family)}"
    if hasattr(annotation, "model_fields"):
        return f"a table with {', '.join(annotation.model_fields)}"
    return described(annotation, metadata)


def _as_type(annotation: Any, value: Any) -> str:
    """For `data = "MNIST"`: how a member is written."""
    family = family_of(annotation)
    close = nearest(value, names(family).split(", ")) if family is not None and isinstance(value, str) else ""
    return f'; did you mean {{ type = "{close}" }}?' if close else ""

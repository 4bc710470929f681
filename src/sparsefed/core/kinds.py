"""What a key takes and what it was given, in words: for complaints, for `help` and for the reference."""

import inspect
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sparsefed.core.errors import bare

__all__ = ["described", "family_of", "found", "unwrapped"]

PLAIN = {str: "text", bool: "true or false", Path: "a path"}
LISTS = (list, tuple, set, frozenset)
NUMBERS = {int: "a whole number", float: "a number"}


def described(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """What values of this type are, such as `a whole number of at least 1`."""
    annotation, metadata = unwrapped(annotation, metadata)
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return f"{'an' if annotation.__name__[0] in 'AEIOU' else 'a'} `{annotation.__name__}`"
    if annotation in NUMBERS:
        return NUMBERS[annotation] + _limits(annotation, metadata)
    return PLAIN.get(annotation) or _compound(annotation, metadata)


def found(value: Any) -> str:
    """A value as a complaint shows it: on one line, not too long."""
    if isinstance(value, dict):
        return f"a table with {', '.join(bare(str(key)) for key in value) or 'no keys'}"
    text = " ".join(repr(value).split())
    if isinstance(value, float) and not math.isfinite(value):
        return f"{text}, which is not finite"
    return text if len(text) <= 80 else f"{text[:79]}…"


def unwrapped(annotation: Any, metadata: Iterable[Any] = ()) -> tuple[Any, list[Any]]:
    """The type itself and its constraints, without `Annotated` and without `None`."""
    limits = [
        part for item in metadata for part in (item.metadata if isinstance(item, FieldInfo) else [item])
    ]
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return unwrapped(inner, [*limits, *more])
    if get_origin(annotation) in (Union, UnionType):
        others = [part for part in get_args(annotation) if part is not NoneType]
        if len(others) == 1:
            return unwrapped(others[0], limits)
    return annotation, limits


def family_of(annotation: Any) -> Any:
    """The family of specs that this type is, if it is one; None for all other types."""
    return annotation if inspect.isclass(annotation) and getattr(annotation, "family", False) else None


def _limits(number: type, metadata: Sequence[Any]) -> str:
    """A lower and an upper limit in words; of whole numbers `above 0` is `of at least 1`."""
    words = []
    for limit in metadata:
        match limit:
            case Gt(gt=bound):
                words.append("of at least 1" if number is int and bound == 0 else f"above {bound}")
            case Ge(ge=bound):
                words.append(f"of at least {bound}")
            case Lt(lt=bound):
                words.append(f"below {bound}")
            case Le(le=bound):
                words.append(f"of at most {bound}")
    return " " + " and ".join(words) if words else ""


def _compound(annotation: Any, metadata: Sequence[Any]) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return " or ".join(described(part) for part in parts if part is not NoneType)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in parts)
    least = next((limit.min_length for limit in metadata if isinstance(limit, MinLen)), 0)
    some = " of at least 1" if least else ""
    if origin is dict:
        inside = described(parts[1])
        return f"a table{some}" + (f", each value {inside}" if inside != "a value" else "")
    if origin in LISTS and (len(parts) == 1 or parts[1:] == (Ellipsis,)):
        return f"a list{some}, each item {described(parts[0])}"
    if origin in LISTS:
        return f"a list of {len(parts)}: {', '.join(described(part) for part in parts)}"
    return "a value"

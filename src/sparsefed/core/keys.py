"""The keys of a spec as rows: what `help`, `sparsefed list` and the reference print, from one place.

That place is the docstring below each field.
"""

import inspect
import textwrap
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sparsefed.core.errors import bare
from sparsefed.core.kinds import described, unwrapped

__all__ = ["KEYS", "OPTIONAL", "Key", "documented", "keys", "signature", "summary"]

OPTIONAL = "optional"
KEYS = "Keys:"
"""What stands above the keys in a docstring."""


class Key(NamedTuple):
    """One key of a spec."""

    key: str
    type: str
    """What values it takes, in words."""
    default: str
    """As TOML has it; `required` where the key must be given, `optional` where it may be left out."""
    meaning: str


def keys(spec: type[BaseModel]) -> list[Key]:
    """The keys of a spec, in the order of its fields."""
    return [
        Key(
            name,
            described(field.annotation, field.metadata),
            _default(field),
            " ".join((field.description or "").split()),
        )
        for name, field in spec.model_fields.items()
    ]


def summary(spec: type[BaseModel]) -> str:
    """The first sentence of what a spec does."""
    return " ".join((inspect.getdoc(spec) or "").partition("\n\n")[0].split())


def documented(spec: type[BaseModel]) -> str:
    """The docstring of a class with its keys in it, as `help` shows it."""
    text = inspect.cleandoc(spec.__dict__.get("__doc__") or "")
    if not spec.model_fields:
        return text
    rows = []
    for name, kind, default, meaning in keys(spec):
        rows += [f"{name} : {kind}{_told(default)}"]
        rows += textwrap.wrap(meaning, 96, initial_indent="    ", subsequent_indent="    ")
    return "\n".join([text, "", KEYS, "", *rows, ""])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return written(field.get_default(call_default_factory=True)) or OPTIONAL


def _told(default: str) -> str:
    return {"required": "", OPTIONAL: f", {OPTIONAL}"}.get(default, f", default {default}")


def signature(spec: type[BaseModel]) -> inspect.Signature:
    """How an instance is made: its keys by name, with plain types; the docstring has the limits."""
    return inspect.Signature([_parameter(name, field) for name, field in spec.model_fields.items()])


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    kind, empty = unwrapped(field.annotation)[0], inspect.Parameter.empty
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=empty if field.is_required() else field.get_default(call_default_factory=True),
        annotation=empty if get_args(kind) else kind,
    )


def written(value: Any) -> str:
    """A default as TOML has it; empty for nothing."""
    if isinstance(value, BaseModel):
        given = {name: item for name, item in value if name in value.model_fields_set}
        return written({"type": type(value).__name__, **given})
    if isinstance(value, dict):
        inside = ", ".join(f"{bare(key)} = {written(item)}" for key, item in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, str | Path):
        return f'"{value}"'
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)

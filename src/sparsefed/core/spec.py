"""A spec is the object: validated configuration, algorithm, `repr`, JSON and hash in one frozen value.

A *family* is an abstract spec such as `Defense`. Where a field is typed with a family, a dictionary
`{"type": "SparseFed", "k": 5000}` is turned into the member of that name; `"type": "my_module:MyRule"`
takes a class of the user's own. A family with a `function_member` also takes a plain function:
`"type": "my_module:build"` is short for that member with `function` and `options`.
"""

import hashlib
import inspect
import json
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from sparsefed.core.complaints import spec_error, unknown_key
from sparsefed.core.errors import SpecError, nearest
from sparsefed.core.keys import documented, signature
from sparsefed.core.knobs import Knobs
from sparsefed.core.members import Part, member, names, root, type_name

__all__ = ["Spec"]


class _Quiet(type(BaseModel)):
    """Lets `help` and `dir` of a spec show what the spec adds, not the machinery below it."""

    def __dir__(cls) -> list[str]:
        hidden = {*dir(BaseModel), "family", "function_member", "knobs"}
        return [name for name in super().__dir__() if name[0] != "_" and name not in hidden]


class Spec(Part, metaclass=_Quiet):
    """Base of everything that can stand in an experiment's file."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,  # JSON has none: a digest could not tell infinity from nothing
    )
    younger: ClassVar[frozenset[str]] = frozenset()
    """Keys that came later: at their defaults they are not in the digest, and old runs keep their names."""
    knobs: ClassVar[Knobs] = {}
    """The fields that a search may turn, each with the range worth searching."""

    def __init__(self, /, *unnamed: Any, **values: Any) -> None:
        if unnamed:
            first = next(iter(type(self).model_fields), "key")
            raise SpecError(f"{type(self).__name__}: expected keys by name, such as {first}={unnamed[0]!r}")
        try:
            super().__init__(**values)
        except ValidationError as problem:
            raise spec_error(type(self), values, problem) from None

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        cls.__doc__, cls.__signature__ = documented(cls), signature(cls)

    @model_validator(mode="wrap")
    @classmethod
    def _choose_member(cls, value: Any, handler: Any) -> Any:
        if not isinstance(value, dict):
            return handler(value)
        if others := [key for key in value if not isinstance(key, str)]:
            raise SpecError(f"expected keys that are text, found {others[0]!r}")
        family = root(cls)
        if family is None:
            return handler(value)
        if "type" not in value:
            if not cls.family:
                return handler(value)
            if close := nearest("type", [key for key in value if len(key) < 6]):
                raise unknown_key([close], ["type"], f"every {family.__name__}")
            raise SpecError(f"missing key; expected one of {names(cls)}", ["type"])
        fields = {key: item for key, item in value.items() if key != "type"}
        chosen = member(family, value["type"])
        if not inspect.isclass(chosen):
            fields = {"function": value["type"], "options": fields}
            chosen = member(family, family.function_member)
        if not issubclass(chosen, cls):
            raise SpecError(f"expected `{cls.__name__}`, found `{chosen.__name__}`", ["type"])
        return handler(fields) if chosen is cls else chosen(**fields)

    @field_validator("*", mode="wrap")
    @classmethod
    def _as_written(cls, value: Any, handler: Any) -> Any:
        result = handler(value)
        if not _same_kind(value, result):
            raise PydanticCustomError("kind", "another kind of value")
        return result

    @model_serializer(mode="wrap")
    def _with_type(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = handler(self)
        return {"type": type_name(type(self)), **fields} if root(type(self)) else fields

    def __setattr__(self, name: str, value: Any) -> None:
        raise SpecError(f"{type(self).__name__} cannot be changed; `.but({name}=…)` gives a changed copy")

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        """What differs from the defaults: a repr is read by people."""
        fields = type(self).model_fields
        return [
            (name, str(value) if isinstance(value, Path) else value)
            for name, value in self
            if value != fields[name].get_default(call_default_factory=True)
        ]

    def __str__(self) -> str:
        """All keys that have a value, defaults included."""
        given = {name: value for name, value in self if value is not None and value != {}}
        return (
            f"{type(self).__name__}({', '.join(f'{name}={_shown(value)}' for name, value in given.items())})"
        )

    def to_dict(self) -> dict[str, Any]:
        """The spec as plain JSON-able data, defaults included."""
        return self.model_dump(mode="json", serialize_as_any=True)

    def but(self, **changes: Any) -> Self:
        """The same spec with some fields changed, validated like any other."""
        return type(self)(**{**dict(self), **changes})

    def digest(self) -> str:
        """A short hash of the whole specification: equal specs, equal digests, on every machine."""
        fields = type(self).model_fields
        usual = {name for name in self.younger if getattr(self, name) == fields[name].default}
        known = {name: value for name, value in self.to_dict().items() if name not in usual}
        text = json.dumps(known, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def sources(self) -> dict[str, Path]:
        """The files that the part reads besides its own code, by names to tell them apart; none by default.

        A run is shown or resumed only while they are as they were when it began. Empty where they are absent.
        """
        return {}


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, Spec) else repr(str(value) if isinstance(value, Path) else value)


def _same_kind(given: Any, read: Any) -> bool:
    """Whether numbers were given as numbers and truths as truths: pydantic takes "no" and 0 for false."""
    if isinstance(read, list | tuple):
        return all(map(_same_kind, given, read))
    if not isinstance(read, bool | int | float):
        return True
    return not isinstance(given, str | bytes) and isinstance(given, bool | np.bool) == isinstance(read, bool)

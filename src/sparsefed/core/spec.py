"""A spec is the object: validated configuration, algorithm, `repr`, JSON and hash in one frozen value.

A *family* is an abstract spec such as `Defense`. Where a field is typed with a family, a dictionary
`{"type": "SparseFed", "k": 5000}` is turned into the member of that name; `"type": "my_module:MyRule"`
takes a class of the user's own. A family with a `function_member` also takes a plain function:
`"type": "my_module:build"` is short for that member with `function` and `options`.
"""

import hashlib
import importlib
import inspect
import json
from collections.abc import Iterator
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

from sparsefed.core.errors import SpecError
from sparsefed.core.knobs import Knobs

__all__ = ["Spec", "family_members", "load"]


class Spec(BaseModel):
    """Base of everything that can stand in an experiment's file."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,  # JSON has none: a digest could not tell infinity from nothing
    )
    family: ClassVar[bool] = False
    """Whether the class is an abstract family, whose members are chosen by `type`."""
    knobs: ClassVar[Knobs] = {}
    """The fields that a search may turn, each with the range worth searching."""
    function_member: ClassVar[str] = ""
    """Name of the family's member that stands for plain functions; empty where none does."""

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as problem:
            raise _spec_error(type(self).__name__, problem) from None

    def __init_subclass__(cls, family: bool = False, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.family = family

    @model_validator(mode="wrap")
    @classmethod
    def _choose_member(cls, value: Any, handler: Any) -> Any:
        if not isinstance(value, dict) or (not cls.family and "type" not in value):
            return handler(value)
        if "type" not in value:
            raise PydanticCustomError("type", "needs a key `type`: one of {names}", {"names": _names(cls)})
        fields = {key: item for key, item in value.items() if key != "type"}
        member = _member(cls, value["type"])
        if not _is_spec(member):
            fields = {"function": value["type"], "options": fields}
            member = _member(cls, cls.function_member)
        return handler(fields) if member is cls else member.model_validate(fields)

    @field_validator("*", mode="wrap")
    @classmethod
    def _as_written(cls, value: Any, handler: Any) -> Any:
        result = handler(value)
        if not _same_kind(value, result):
            needed = {"kind": "true or false" if isinstance(result, bool) else "a number, written as such"}
            raise PydanticCustomError("kind", "Input should be {kind}", needed)
        return result

    @model_serializer(mode="wrap")
    def _with_type(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = handler(self)
        return {"type": _type_name(type(self)), **fields} if _family(type(self)) else fields

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        """What differs from the defaults: a repr is read by people."""
        fields = type(self).model_fields
        return [(name, value) for name, value in self if value != fields[name].default]

    def __str__(self) -> str:
        return repr(self)

    def to_dict(self) -> dict[str, Any]:
        """The spec as plain JSON-able data, defaults included."""
        return self.model_dump(mode="json", serialize_as_any=True)

    def but(self, **changes: Any) -> Self:
        """The same spec with some fields changed, validated like any other."""
        return type(self)(**{**dict(self), **changes})

    def digest(self) -> str:
        """A short hash of the whole specification: equal specs, equal digests, on every machine."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def sources(self) -> dict[str, Path]:
        """The files that the part reads besides its own code, by names to tell them apart; none by default.

        A run is shown or resumed only while they are as they were when it began. Empty where they are absent.
        """
        return {}


def _spec_error(name: str, problem: ValidationError) -> SpecError:
    """The first complaint of a validation as one line: where, what was found, what is needed."""
    first = problem.errors(include_url=False)[0]
    inner = first.get("ctx", {}).get("error")
    path = [str(part) for part in first["loc"]]
    if isinstance(inner, _PathError):
        return _PathError(name, path + inner.path, inner.complaint)
    found = first.get("input")
    if first["type"] == "extra_forbidden":
        return _PathError(name, path, "unknown key")
    if first["type"] == "missing":
        return _PathError(name, path, "missing key")
    shown = "" if isinstance(found, dict | Spec) else f", found {found!r}"
    return _PathError(name, path, first["msg"].removeprefix("Value error, ") + shown)


class _PathError(SpecError):
    """A complaint that knows where it stands, so that the specs around it can complete the path."""

    def __init__(self, name: str, path: list[str], complaint: str) -> None:
        self.path, self.complaint = path, complaint
        where = f"`{'.'.join(path)}`: " if path else ""
        super().__init__(f"{name}: {where}{complaint}")

    def __reduce__(self) -> tuple[type[SpecError], tuple[str]]:
        return SpecError, (str(self),)  # from another process it comes as a line


def _same_kind(given: Any, read: Any) -> bool:
    """Whether numbers were given as numbers and truths as truths: pydantic takes "no" and 0 for false."""
    if isinstance(read, list | tuple):
        return all(map(_same_kind, given, read))
    if not isinstance(read, bool | int | float):
        return True
    return not isinstance(given, str | bytes) and isinstance(given, bool | np.bool) == isinstance(read, bool)


def _family(cls: type[Spec]) -> type[Spec] | None:
    return next((base for base in cls.__mro__ if issubclass(base, Spec) and base.family), None)


def family_members(family: type[Spec]) -> Iterator[type[Spec]]:
    """Every concrete spec of a family that has been imported."""
    for child in family.__subclasses__():
        if not child.family and not inspect.isabstract(child) and not child.__name__.startswith("_"):
            yield child
        yield from family_members(child)


def _names(family: type[Spec]) -> str:
    return ", ".join(
        sorted({m.__name__ for m in family_members(family) if m.__module__.startswith("sparsefed.")})
    )


def _type_name(cls: type[Spec]) -> str:
    return cls.__name__ if cls.__module__.startswith("sparsefed.") else f"{cls.__module__}:{cls.__name__}"


def _member(family: type[Spec], name: Any) -> Any:
    """The member class of that name, or a function of the user's own where the family takes functions."""
    root = _family(family) or family
    if not isinstance(name, str):
        raise PydanticCustomError("type", "`type` must be a name, found {name}", {"name": repr(name)})
    if ":" not in name:
        for member in (root, *family_members(root)):
            if member.__name__ == name and not member.family:
                return member
        needed = {"name": name, "family": root.__name__, "names": _names(root)}
        raise PydanticCustomError("type", "unknown {family} `{name}`: need one of {names}", needed)
    member = load(name)
    fits = issubclass(member, root) if _is_spec(member) else callable(member) and root.function_member
    if not fits:
        needed = {"name": name, "family": root.__name__}
        raise PydanticCustomError("type", "`{name}` is not a {family}", needed)
    return member


def _is_spec(thing: Any) -> bool:
    return inspect.isclass(thing) and issubclass(thing, Spec)


def load(name: str) -> Any:
    """What `my_module:thing` names; a PydanticCustomError, for use in validators, where there is none."""
    module_name, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except Exception as problem:  # a user's module can raise anything while it is imported
        context = {"name": name, "problem": f"{type(problem).__name__}: {' '.join(str(problem).split())}"}
        raise PydanticCustomError("type", "cannot load `{name}`: {problem}", context) from None

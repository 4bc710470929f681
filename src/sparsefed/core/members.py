"""The members of a family of specs, and how `type` names one of them or a class of the user's own."""

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, PydanticUserError

from sparsefed.core.errors import SpecError, did_you_mean, located
from sparsefed.core.places import searched

__all__ = ["Part", "families", "family_members", "is_own", "load", "member", "names", "root", "type_name"]


class Part(BaseModel):
    """What can be part of a specification: a family, a member of one, or neither."""

    family: ClassVar[bool] = False
    """Whether the class is an abstract family, whose members are chosen by `type`."""
    function_member: ClassVar[str] = ""
    """Name of the family's member that stands for plain functions; empty where none does."""

    def __init_subclass__(cls, family: bool = False, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.family = family


P = TypeVar("P", bound=Part)


def families() -> Iterator[type[Part]]:
    """Every family that has been imported."""
    yield from (part for part in dict.fromkeys(_below(Part)) if part.family)


def family_members(family: type[P]) -> Iterator[type[P]]:
    """Every concrete spec of a family that has been imported."""
    for child in dict.fromkeys(_below(family)):  # once, also where it has two parents of the family
        if not child.family and not inspect.isabstract(child) and not child.__name__.startswith("_"):
            yield child


def names(family: type[Part]) -> str:
    """The names of the family's members that come with the package."""
    return ", ".join(sorted({member.__name__ for member in family_members(family) if not is_own(member)}))


def root(spec: type[Part]) -> type[Part] | None:
    """The family that a spec is a member of; None for specs that are no choice."""
    return next((base for base in spec.__mro__ if issubclass(base, Part) and base.family), None)


def is_own(spec: type) -> bool:
    """Whether a class is the user's own."""
    return not spec.__module__.startswith("sparsefed.")


def type_name(spec: type[Part]) -> str:
    """What `type` calls a member."""
    return f"{spec.__module__}:{spec.__name__}" if is_own(spec) else spec.__name__


def member(family: type[Part], name: Any) -> Any:
    """What `type = name` stands for: a member, or a function of the user's own where the family takes one.

    Raises `SpecError` for everything else, with what is possible.
    """
    if not isinstance(name, str):
        raise SpecError(f"expected a name, one of {names(family)}, found {name!r}", ["type"])
    if ":" not in name:
        return _named(family, name)
    try:
        thing = load(name)
    except SpecError as problem:
        raise SpecError(problem.complaint, ["type"]) from None
    if callable(thing) and not inspect.isclass(thing) and family.function_member:
        return thing
    if not inspect.isclass(thing) or not issubclass(thing, family):
        kind = "class" if inspect.isclass(thing) else "function" if callable(thing) else "value"
        expected = (
            "a function or " * bool(family.function_member) + f"a class that extends `{family.__name__}`"
        )
        raise SpecError(f"expected {expected}, found the {kind} `{name}`", ["type"])
    if inspect.isabstract(thing):
        lacks = ", ".join(sorted(thing.__abstractmethods__))
        raise SpecError(f"`{name}` is not complete; expected it to define {lacks}", ["type"])
    return thing


def load(name: str) -> Any:
    """What `my_module:thing` names; raises `SpecError` where there is none."""
    module_name, _, attribute = name.partition(":")
    if not module_name or module_name.endswith(".py") or re.search(r"^\.|/", module_name):
        stem = Path(module_name).stem
        hint = f"; did you mean `{stem}:{attribute or 'NAME'}`?" if stem else ""
        raise SpecError(f"cannot load `{name}`: expected `module:name`, found no module's name{hint}")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as problem:
        if module_name.endswith(".py"):
            hint = f"{module_name.removesuffix('.py').replace('/', '.')}:{attribute or 'NAME'}"
            raise SpecError(
                f"cannot load `{name}`: expected a module's name; did you mean `{hint}`?"
            ) from None
        if problem.name != module_name.partition(".")[0]:
            raise SpecError(
                f"cannot load `{name}`: it needs `{problem.name}`, which is not installed"
            ) from None
        looked = searched(Path(module_name.replace(".", "/") + ".py"))
        raise SpecError(
            f"cannot load `{name}`: expected a module `{module_name}`, found none; looked for {looked}"
        ) from None
    except PydanticUserError as problem:  # its advice is about pydantic's settings
        what = (
            "without a type" if problem.code == "model-field-missing-annotation" else "of a type unfit for it"
        )
        place = re.search(r"`.+?`|<class .+?>", str(problem))
        found = f", found {place[0]}" if place else ""
        raise SpecError(
            f"cannot load `{name}`: expected keys with types that TOML has{found} {what}"
        ) from None
    except Exception as problem:  # a user's module can raise anything while it is imported
        raise SpecError(f"cannot load `{name}`: {located(problem)}") from None
    if not hasattr(module, attribute):
        has = [other for other, thing in vars(module).items() if callable(thing)]
        hint = did_you_mean(attribute, has)
        raise SpecError(f"cannot load `{name}`: expected `{attribute}` in `{module_name}`, found none{hint}")
    return getattr(module, attribute)


def _named(family: type[Part], name: str) -> type[Part]:
    for spec in (family, *family_members(family)):
        if spec.__name__ == name and not spec.family and not is_own(spec):
            return spec
    others = [other for other in families() if name in names(other).split(", ")]
    is_other = f", which is a {others[0].__name__}" if others else ""
    known = names(family)
    hint = did_you_mean(name, known.split(", ")) or ";"
    if "." in name and not others:
        module, _, attribute = name.rpartition(".")
        hint = f"; did you mean `{module}:{attribute}`?"
    possible = f"{hint} expected one of {known}, or `module:name` of your own"
    raise SpecError(f"unknown {family.__name__} `{name}`{is_other}{possible}", ["type"])


def _below(spec: type[P]) -> Iterator[type[P]]:
    for child in spec.__subclasses__():
        yield child
        yield from _below(child)

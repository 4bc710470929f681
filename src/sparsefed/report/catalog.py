"""What there is to choose from: families, their members and the keys of each."""

from typing import NamedTuple

from sparsefed.attacks import Attack, Method, Objective, Presence
from sparsefed.core.errors import SpecError, did_you_mean
from sparsefed.core.keys import OPTIONAL, keys, summary
from sparsefed.core.members import Part, families, family_members, is_own, load
from sparsefed.federation.experiment import Experiment
from sparsefed.runs.record import Row
from sparsefed.runs.tables import Table

__all__ = ["Group", "choices", "listing", "members", "plural"]


class Group(NamedTuple):
    """Rows under one heading."""

    title: str
    rows: list[Row]


def listing(what: str) -> list[Group]:
    """What `sparsefed list` prints for a family, for a member of one, for `attacks`, `experiment` or `table`.

    A family gives its members, everything else its keys with type, default and meaning. Raises `SpecError`
    for other names, with the nearest.
    """
    if what.lower() == "attacks":
        return [Group(plural(part), members(part)) for part in (Objective, Presence, Method)]
    known = choices()
    by_lower = {name.lower(): spec for name, spec in known.items()}
    spec = load(what) if ":" in what else by_lower.get(what.lower()) or by_lower.get(f"{what.lower()}s")
    if not (isinstance(spec, type) and issubclass(spec, Part)):
        hint = did_you_mean(what, [*known, "attacks", "runs"]) or ";"
        possible = ", ".join(sorted(["attacks", "runs", *(name for name in known if name.islower())]))
        raise SpecError(
            f"list {what}: unknown name{hint} expected one of {possible}, or a name that they list"
        )
    if spec.family:
        return [Group(plural(spec), members(spec))]
    return [Group(f"{spec.__name__}: {summary(spec)}", [key._asdict() for key in keys(spec)])]


def choices() -> dict[str, type[Part]]:
    """Everything that a file can hold or name: families by their plural, members, and whole files."""
    named: dict[str, type[Part]] = {"experiment": Experiment, "table": Table, "attack": Attack}
    for family in families():
        if not is_own(family):
            named[plural(family)] = family
            named |= {spec.__name__: spec for spec in family_members(family) if not is_own(spec)}
    return named


def members(family: type[Part]) -> list[Row]:
    """Name, keys and meaning of every member of a family."""
    return [
        {
            "name": member.__name__,
            "keys": ", ".join(
                key.key + (f" = {key.default}" if key.default not in (OPTIONAL, "required") else "")
                for key in keys(member)
            ),
            "meaning": summary(member),
        }
        for member in sorted(family_members(family), key=lambda member: member.__name__)
    ]


def plural(family: type[Part]) -> str:
    """What a family's members are called together, such as `defenses`."""
    name = family.__name__.lower()
    return name if name.endswith("s") or name == "data" else f"{name}s"

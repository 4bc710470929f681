"""What there is to choose from: the members of each family, and the runs made so far."""

import inspect
from pathlib import Path

from sparsefed.attacks import Method, Objective, Presence
from sparsefed.clients import Clients
from sparsefed.core.errors import SparseFedError, SpecError
from sparsefed.core.spec import Spec, family_members
from sparsefed.data import Data, Partition
from sparsefed.defenses import Defense
from sparsefed.models import Model
from sparsefed.protocol.anchors import Anchor
from sparsefed.protocol.clips import Clip
from sparsefed.protocol.schedules import Schedule
from sparsefed.runs.record import Row, find_record

__all__ = ["FAMILIES", "members", "past_runs"]

FAMILIES: dict[str, type[Spec]] = {
    "anchors": Anchor,
    "clients": Clients,
    "clips": Clip,
    "data": Data,
    "defenses": Defense,
    "methods": Method,
    "models": Model,
    "objectives": Objective,
    "partitions": Partition,
    "presences": Presence,
    "schedules": Schedule,
}


def members(family: str) -> list[Row]:
    """Name, fields and meaning of every member of a family; `attacks` are three families at once."""
    if family == "attacks":
        return [row for part in ("objectives", "presences", "methods") for row in members(part)]
    if family not in FAMILIES:
        needed = ", ".join(["runs", "attacks", *FAMILIES])
        raise SpecError(f"list {family}: unknown; needed: one of {needed}")
    return [
        {
            "name": member.__name__,
            "fields": _fields(member),
            "meaning": (inspect.getdoc(member) or "").split("\n")[0],
        }
        for member in sorted(family_members(FAMILIES[family]), key=lambda member: member.__name__)
    ]


def past_runs(runs: Path) -> list[Row]:
    """One line per run in a folder of runs, finished or not."""
    return [_run(path.parent) for path in sorted(runs.glob("**/spec.json"))]


def _run(folder: Path) -> Row:
    row: Row = {"run": str(folder), **dict.fromkeys(("data", "attack", "defense", "seed"), "")}
    row |= dict.fromkeys(("test_accuracy", "attack_accuracy"))
    try:
        record = find_record(folder)
        spec, result = record.experiment, record.result
        done = len(record.rows()) if result is None else spec.rounds
    except SparseFedError:
        return {**row, "outcome": "unreadable"}
    method = "none" if spec.attack is None else type(spec.attack.method).__name__
    row |= {"data": type(spec.data).__name__, "attack": method, "defense": _brief(spec.defense)}
    row["seed"] = spec.seed
    if result is None:
        return {**row, "outcome": f"at round {done} of {spec.rounds}"}
    return row | {key: result.get(key) for key in ("test_accuracy", "attack_accuracy", "outcome")}


def _brief(defense: Defense) -> str:
    """Its name, and the one number that tells two of a kind apart in a list."""
    numbers = {"k": getattr(defense, "k", None), "f": getattr(defense, "f", None)}
    return " ".join([type(defense).__name__, *(f"{n}={v}" for n, v in numbers.items() if v is not None)])


def _fields(member: type[Spec]) -> str:
    shown = []
    for name, field in member.model_fields.items():
        shown.append(name if field.is_required() else f"{name}={field.default!r}")
    return ", ".join(shown)

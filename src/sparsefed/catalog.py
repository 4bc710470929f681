"""What there is to choose from: the members of each family, and the runs made so far."""

import inspect
from pathlib import Path

from sparsefed.attacks import Method, Objective, Presence
from sparsefed.clients import Clients
from sparsefed.clips import Clip
from sparsefed.data import Data, Partition
from sparsefed.defenses import Defense
from sparsefed.errors import SparseFedError, SpecError
from sparsefed.models import Model
from sparsefed.record import Row, find_record
from sparsefed.schedules import Schedule
from sparsefed.spec import Spec, family_members

__all__ = ["FAMILIES", "members", "past_runs"]

FAMILIES: dict[str, type[Spec]] = {
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
    row = {"run": str(folder), "defense": "", "test_accuracy": None, "attack_accuracy": None}
    try:
        record = find_record(folder)
        result = record.result
        row["defense"] = type(record.experiment.defense).__name__
    except SparseFedError:
        return {**row, "outcome": "unreadable"}
    if result is None:
        return {**row, "outcome": f"at round {len(record.rows())} of {record.experiment.rounds}"}
    return {**row, **{key: result[key] for key in ("test_accuracy", "attack_accuracy", "outcome")}}


def _fields(member: type[Spec]) -> str:
    shown = []
    for name, field in member.model_fields.items():
        shown.append(name if field.is_required() else f"{name}={field.default!r}")
    return ", ".join(shown)

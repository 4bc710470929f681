"""The runs made so far: what each is, told by what differs between them, and what came out."""

from collections.abc import Sequence
from pathlib import Path

from sparsefed.attacks import Nobody
from sparsefed.core.errors import SparseFedError
from sparsefed.core.members import Part
from sparsefed.federation.experiment import Experiment
from sparsefed.runs.record import Record, Row, find_record

__all__ = ["differences", "outcome", "past_runs"]

RESULTS = ("test_accuracy", "attack_accuracy", "outcome")


def past_runs(runs: Path) -> list[Row]:
    """One line per run in a folder of runs, finished or not: what differs between them, and the results.

    `settings` holds the keys that differ; `what` says them in words.
    """
    found = {path.parent: _readable(path.parent) for path in sorted(runs.glob("**/spec.json"))}
    readable = [record for record in found.values() if record is not None]
    settings = differences([record.experiment for record in readable])
    told = dict(zip((record.folder for record in readable), settings, strict=True))
    rows = []
    for folder, record in found.items():
        if record is None:
            rows.append({"run": str(folder), "what": "", "settings": {}, "outcome": "unreadable"})
            continue
        differing = told[folder]
        what = ", ".join(f"{key} {value}" for key, value in differing.items()) or brief(record.experiment)
        row = {"run": str(folder), "what": what, **named(record.experiment), "settings": differing}
        rows.append({**row, **outcome(record)})
    return rows


def outcome(record: Record) -> Row:
    """The last accuracies of a run, and how it ended or how far it is."""
    if (result := record.result) is not None:
        return {key: result.get(key) for key in RESULTS}
    rows = record.rows()
    last = next((row for row in reversed(rows) if "test_accuracy" in row), {})
    return {
        "test_accuracy": last.get("test_accuracy"),
        "attack_accuracy": last.get("attack_accuracy"),
        "outcome": f"at round {len(rows)} of {record.experiment.rounds}",
    }


def named(spec: Experiment) -> Row:
    """The parts by their names."""
    attacked = spec.attack is not None and not isinstance(spec.attack.presence, Nobody)
    return {
        "data": type(spec.data).__name__,
        "attack": type(spec.attack.method).__name__ if attacked and spec.attack else "none",
        "defense": type(spec.defense).__name__,
        "seed": spec.seed,
    }


def brief(spec: Experiment) -> str:
    """An experiment in a few words."""
    names = named(spec)
    return f"{names['data']}, {spec.defense!r}, attack {names['attack']}"


def differences(specs: Sequence[Part]) -> list[dict[str, str]]:
    """For each of some specs of one class, the keys in which they differ, with its value of each."""
    told: list[dict[str, str]] = [{} for _ in specs]
    for key in type(specs[0]).model_fields if specs else ():
        values = [getattr(spec, key) for spec in specs]
        if all(value == values[0] for value in values):
            continue
        kinds = {type(value) for value in values}
        if len(kinds) == 1 and isinstance(values[0], Part):
            inner = differences(values)
        else:
            inner = [{"": "none" if value is None else _text(value)} for value in values]
        for each, found in zip(told, inner, strict=True):
            each |= {f"{key}.{name}".rstrip("."): text for name, text in found.items()}
    return told


def _text(value: object) -> str:
    return repr(value).removesuffix("()") if isinstance(value, Part) else str(value)


def _readable(folder: Path) -> Record | None:
    try:
        record = find_record(folder)
        outcome(record)
    except SparseFedError:
        return None
    return record

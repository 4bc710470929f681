"""The runs made so far: what each is, told by what differs between them, and what came out.

A folder is read as the data it holds: no experiment is made of it, so that a list of runs waits for nothing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sparsefed.core.errors import SparseFedError
from sparsefed.runs.record import Kept, Row

__all__ = ["brief", "differences", "elsewhere", "outcome", "past_runs"]

RESULTS = ("test_accuracy", "attack_accuracy", "outcome")

Tree = Mapping[str, Any]


def past_runs(runs: Path) -> list[Row]:
    """One line per run in a folder of runs, finished or not: what differs between them, and the results.

    `settings` holds the keys that differ; `what` says them in words, what fewest runs share first: a line
    may be cut.
    """
    found = {path.parent: _readable(path.parent) for path in sorted(runs.glob("*/spec.json"))}
    readable = {folder: seen for folder, seen in found.items() if seen is not None}
    settings = differences([tree for tree, _ in readable.values()])
    told = dict(zip(readable, settings, strict=True))
    shared = Counter(setting for mine in settings for setting in mine.items())
    rows = []
    for folder in found:
        if folder not in readable:
            rows.append({"run": str(folder), "what": "", "settings": {}, "outcome": "unreadable"})
            continue
        tree, ended = readable[folder]
        names = _names(tree)
        rarest = sorted(told[folder].items(), key=lambda setting: (shared[setting], _telling(setting)))
        what = ", ".join(f"{key} {value}" for key, value in rarest)
        rows.append(
            {"run": str(folder), "what": what or brief(tree), **names, "settings": told[folder], **ended}
        )
    return rows


TELLING = ("defense", "attack", "clip", "anchor", "data", "model", "partition")
"""What tells runs apart best, of settings that equally many runs share."""


def _telling(setting: tuple[str, str]) -> int:
    part = setting[0].partition(".")[0]
    return TELLING.index(part) if part in TELLING else len(TELLING)


def brief(tree: Tree) -> str:
    """An experiment, as data, in a few words."""
    names = _names(tree)
    return f"{names['data']}, {names['defense']}, attack {names['attack']}"


def elsewhere(runs: Path) -> dict[Path, int]:
    """How many runs there are in each folder inside a folder of runs, such as those of a search."""
    inside = [path.relative_to(runs).parts[0] for path in runs.glob("*/**/*/spec.json")]
    return {runs / name: inside.count(name) for name in sorted(set(inside))}


def outcome(run: Kept) -> Row:
    """The last accuracies of a run, and how it ended or how far it is."""
    if (result := run.result) is not None:
        return {key: result.get(key) for key in RESULTS}
    rows = run.rows()
    last = next((row for row in reversed(rows) if "test_accuracy" in row), {})
    return {
        "test_accuracy": last.get("test_accuracy"),
        "attack_accuracy": last.get("attack_accuracy"),
        "outcome": f"at round {len(rows)} of {run.spec['experiment']['rounds']}",
    }


def differences(trees: Sequence[Tree]) -> list[dict[str, str]]:
    """For each of some specifications, as data, the keys in which it differs from others, with its value.

    Keys of a part are compared between parts of one type.
    """
    told: list[dict[str, str]] = [{} for _ in trees]
    for key in trees[0] if trees else ():
        if key == "type" or any(key not in tree for tree in trees):  # a run of another version may lack it
            continue
        values = [tree[key] for tree in trees]
        if all(value == values[0] for value in values):
            continue
        kinds = [_kind(value) for value in values]
        for kind in dict.fromkeys(kinds):
            alike = [place for place, other in enumerate(kinds) if other == kind]
            parts = [values[place] if kind is not None else {} for place in alike]
            for place, found in zip(alike, differences(parts), strict=True):
                if len(set(kinds)) > 1 or kind is None:
                    told[place][key] = _text(values[place])
                told[place] |= {f"{key}.{name}": text for name, text in found.items()}
    return told


def _names(tree: Tree) -> Row:
    """The parts by their names."""
    attack = tree["attack"] or {"presence": {"type": "Nobody"}}
    attacked = attack["presence"]["type"] != "Nobody"
    return {
        "data": tree["data"]["type"],
        "attack": attack["method"]["type"] if attacked else "none",
        "defense": tree["defense"]["type"],
        "seed": tree["seed"],
    }


def _kind(value: Any) -> str | None:
    """The type of a part, empty for one without; None for what is no part."""
    return value.get("type", "") if isinstance(value, dict) else None


def _text(value: Any) -> str:
    if isinstance(value, dict):
        parts = [part["type"] for part in value.values() if isinstance(part, dict) and "type" in part]
        return value.get("type") or (parts[-1] if parts else "some")  # an attack is told by its method
    return "none" if value is None else str(value)


def _readable(folder: Path) -> tuple[Tree, Row] | None:
    run = Kept(folder)
    try:
        tree = run.spec["experiment"]
        return (tree, outcome(run)) if _names(tree) else None
    except (SparseFedError, KeyError, TypeError):
        return None

"""The settings and results of one run, a line each."""

from typing import TYPE_CHECKING, Any

from rich.table import Table

from sparsefed.report.terminal import facts, number

if TYPE_CHECKING:  # what prints must not wait for what computes
    from sparsefed.federation.experiment import Experiment

__all__ = ["details"]

Row = dict[str, Any]


def details(experiment: "Experiment", result: Row | None, rows: list[Row]) -> Table:
    """The settings and results of one run, a line each."""
    parts = ("data", "partition", "model", "clients", "schedule", "clip", "defense", "attack")
    lines = [(key, _brief(getattr(experiment, key))) for key in parts]
    clients = f" of {result['clients']:,}" if result else ""
    lines.append(("rounds", f"{len(rows)} of {experiment.rounds}, {experiment.cohort}{clients} clients each"))
    if result is None:
        lines.append(("outcome", "not finished: run the same experiment again to resume"))
    lines += _result_lines(result or {})
    if result is not None:
        lines.append(("made with", ", ".join(f"{k} {v}" for k, v in result["environment"].items())))
    return facts(lines)


def _result_lines(result: Row) -> list[tuple[str, str]]:
    """The numbers of a result in words; those of classes by the labels that the data have."""
    classes = len(result.get("accuracy_by_class") or [])
    labels = result.get("labels") or list(map(str, range(classes)))
    lines = []
    for key, value in result.items():
        if value is None or value == [] or key in UNSAID:
            continue
        text = _by_class(key, value, labels) if key.endswith("_by_class") else number(key, value)
        lines.append((key.replace("_", " "), text))
    return lines


UNSAID = {"rounds", "environment", "stretches", "digest", "clients", "labels", "twin_accuracy_by_class"}
"""What `show` says elsewhere; `--json` has it all."""

MOST_CLASSES = 12


def _by_class(key: str, values: list[float | None], labels: list[str]) -> str:
    """Each class with its number; of many classes only the worst, which is what an average hides."""
    told = [(value, label) for value, label in zip(values, labels, strict=True) if value is not None]
    some = sorted(told, reverse="loss" in key)[:MOST_CLASSES] if len(told) > MOST_CLASSES else told
    note = f" (the worst of {len(told)})" if len(some) < len(told) else ""
    return ", ".join(f"{label}: {number(key, value)}" for value, label in some) + note


def _brief(spec: Any) -> str:
    return "none" if spec is None else repr(spec)

"""Tables in the terminal."""

from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:  # what prints must not wait for what computes
    from sparsefed.federation.experiment import Experiment

__all__ = ["details", "evaluations", "number", "results", "table"]

Row = dict[str, Any]


def number(value: Any) -> str:
    """A value for a cell: one decimal for floats, a dash for nothing."""
    if value is None:
        return "–"
    if isinstance(value, float) and abs(value) >= 100 and value.is_integer():
        return str(int(value))
    if isinstance(value, float):
        return f"{value:.1f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"
    return str(value)


def table(title: str, columns: dict[str, str], rows: list[Row]) -> Table:
    """A table with one column per key of `columns`, headed by its value."""
    shown = Table(title=title or None, title_justify="left")
    for key, heading in columns.items():
        texts = any(isinstance(row.get(key), str) for row in rows)
        whole = key == "run"  # what is copied into the next command must not be cut
        shown.add_column(heading, justify="left" if texts else "right", overflow="fold", no_wrap=whole)
    for row in rows:
        shown.add_row(*(number(row.get(key)) for key in columns))
    return shown


def results(rows: list[Row], title: str = "") -> Table:
    """One line per run."""
    columns = {
        "name": "run",
        "test_accuracy": "test accuracy %",
        "attack_accuracy": "attack accuracy %",
        "seconds": "seconds",
        "outcome": "outcome",
    }
    return table(title, columns, rows)


def evaluations(rows: list[Row], most: int = 12) -> Table:
    """The evaluations of one run, thinned out to `most` lines and always with the last."""
    looks = [row for row in rows if "test_accuracy" in row]
    step = max(1, -(-len(looks) // most))
    chosen = looks[::-1][::step][::-1]
    columns = {
        "round": "round",
        "test_accuracy": "test %",
        "test_accuracy_rest": "rest %",
        "attack_accuracy": "attack %",
        "twin_attack_accuracy": "twin's attack %",
        "loss": "loss",
        "honest_norm": "honest norm",
        "clipped": "clipped",
        "support": "moved",
        "mass_lost": "mass lost",
        "kept": "kept",
        "compromised_kept": "compromised kept",
    }
    present = {key: text for key, text in columns.items() if any(row.get(key) is not None for row in chosen)}
    return table("", present, chosen)


def details(experiment: "Experiment", result: Row | None, rows: list[Row]) -> Table:
    """Everything that is known of one run, a line each."""
    shown = Table(show_header=False, box=None, pad_edge=False)
    shown.add_column(style="bold")
    for key in ("data", "partition", "model", "clients", "schedule", "clip", "defense", "attack"):
        shown.add_row(key, str(_brief(getattr(experiment, key))))
    shown.add_row("rounds", f"{len(rows)} of {experiment.rounds}, {experiment.cohort} clients each")
    if result is None:
        shown.add_row("outcome", "not finished: run the same experiment again to go on")
    for key, value in (result or {}).items():
        if value is not None and key not in {"rounds", "environment", "digest"}:
            shown.add_row(key.replace("_", " "), number(value))
    if result is not None:
        shown.add_row("made with", ", ".join(f"{k} {v}" for k, v in result["environment"].items()))
    return shown


def _brief(spec: Any) -> str:
    return "none" if spec is None else repr(spec)

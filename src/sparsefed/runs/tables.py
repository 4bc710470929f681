"""A published table as data: cell = base ← column ← row, run for every seed, summed up with its spread.

    title = "…"
    seeds = [0, 1, 2]
    metrics = ["test_accuracy_rest", "attack_accuracy"]
    [base]              # an experiment
    [columns.NAME]      # changes to it
    [rows.NAME]         # more changes; `without = ["attack"]` removes keys
    [reported.NAME]     # what the paper prints for a row, one text per metric

Cells are ordinary runs, so a table that was stopped goes on where it was and costs nothing twice.
`docs/tables.md` tells more.
"""

import statistics
import tomllib
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

from pydantic import Field, model_validator

from sparsefed.core.errors import SpecError, named
from sparsefed.core.spec import Spec
from sparsefed.federation.experiment import Experiment
from sparsefed.runs.record import Row
from sparsefed.runs.simulate import METRICS

__all__ = ["Cell", "Table", "markdown", "read_table", "summary"]

Tree = dict[str, Any]


class Table(Spec):
    """What a table's file holds."""

    title: str
    """What stands above it."""
    note: str = ""
    """What a reader should know, in Markdown."""
    seeds: list[Annotated[int, Field(strict=True, ge=0)]] = Field(default=[0, 1, 2], min_length=1)
    """Every cell is run once for each."""
    metrics: list[str] = Field(default=["test_accuracy_rest", "attack_accuracy"])
    """Which numbers of a result are shown."""
    base: Tree
    """The experiment that all cells begin with."""
    columns: dict[str, Tree] = Field(default={"": {}}, min_length=1)
    """Changes to it."""
    rows: dict[str, Tree] = Field(min_length=1)
    """More changes."""
    reported: dict[str, dict[str, str]] = Field(default={})
    """What the paper prints for a row, by metric."""

    @model_validator(mode="after")
    def _sense(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"`seeds`: needs each seed once, found {self.seeds}")
        for metric in self.metrics:
            if metric not in METRICS:
                raise ValueError(f"`metrics`: unknown `{metric}`; needed: some of {', '.join(METRICS)}")
        for row, texts in self.reported.items():
            if row not in self.rows:
                raise ValueError(f"`reported.{row}`: no such row; needed: one of {', '.join(self.rows)}")
            if others := [metric for metric in texts if metric not in self.metrics]:
                needed = f"one of {', '.join(self.metrics)}"
                raise ValueError(f"`reported.{row}.{others[0]}`: not in `metrics`; needed: {needed}")
        return self

    def cells(self) -> Iterator["Cell"]:
        """Every run of the table: all cells of the first seed, then of the next."""
        for seed in self.seeds:
            for row, row_changes in self.rows.items():
                for column, column_changes in self.columns.items():
                    tree = changed(self.base, column_changes, f"columns.{column}")
                    tree = changed(tree, row_changes, f"rows.{row}")
                    name = f"row `{row}`" + (f", column `{column}`" if column else "") + f", seed {seed}"
                    with named(name, "Experiment: "):
                        yield Cell(row, column, name, _experiment(tree, seed))


class Cell(NamedTuple):
    """One run of a table."""

    row: str
    column: str
    name: str
    """Row, column and seed in words."""
    experiment: Experiment


def read_table(path: Path) -> Table:
    """The table in a TOML file; raises `SpecError` naming file and key, also for a cell that cannot be."""
    try:
        content = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file; needed: a table in TOML") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise SpecError(f"{path}: not a table in TOML: {problem}") from None
    with named(str(path), "Table: "):
        table = Table(**content)
        list(table.cells())
    return table


def summary(table: Table, results: list[tuple[Cell, Row]]) -> list[Row]:
    """One line per cell: n, and of every metric the mean, the standard deviation and each seed's value."""
    lines = []
    for row in table.rows:
        for column in table.columns:
            found = [result for cell, result in results if (cell.row, cell.column) == (row, column)]
            line: Row = {"row": row, "column": column, "seeds": table.seeds, "n": len(found)}
            line["outcome"] = ", ".join(sorted({result["outcome"] for result in found}))
            for metric in table.metrics:
                line[metric] = _spread([result.get(metric) for result in found])
                line[metric]["reported"] = table.reported.get(row, {}).get(metric)
            lines.append(line)
    return lines


def markdown(table: Table, lines: list[Row], environment: Row, command: str, picture: str = "") -> str:
    """The table as Markdown, with its picture, what it was made with and how to make it again."""
    reported = {metric for texts in table.reported.values() for metric in texts}
    columns = list(table.columns) != [""]
    heads = ["", *([""] if columns else [])]
    for metric in table.metrics:
        heads += [metric.replace("_", " "), *(["paper"] if metric in reported else [])]
    heads += ["n", "outcome"]
    body = []
    for line in lines:
        cells = [line["row"], *([line["column"]] if columns else [])]
        for metric in table.metrics:
            cells.append(_text(**line[metric]))
            cells += [line[metric]["reported"] or ""] if metric in reported else []
        cells += [str(line["n"]), line["outcome"]]
        body.append([cell.replace("|", r"\|") for cell in cells])
    rules = ["---" if not head else "---:" for head in heads[:-1]] + ["---"]
    grid = "\n".join("| " + " | ".join(cells) + " |" for cells in [heads, rules, *body])
    made = ", ".join(f"{key} {value}" for key, value in environment.items())
    shown = f"![Accuracies of the first seed over the rounds]({picture})\n\n" if picture else ""
    note = f"{table.note.strip()}\n\n" if table.note else ""
    foot = f"Mean ± standard deviation over n seeds. Made with {made}, by `{command}`."
    return f"# {table.title}\n\n{shown}{note}{grid}\n\n{foot}\n"


def _experiment(tree: Tree, seed: int) -> Experiment:
    if "seed" in tree:
        raise SpecError("`seed`: not a cell's to choose; the table's `seeds` are")
    return Experiment(**tree, seed=seed)


def changed(base: Tree, changes: Tree, place: str) -> Tree:
    """`base` with `changes` laid over it; a part of another type replaces the old one whole."""
    result, gone = deepcopy(base), changes.get("without", [])
    if not isinstance(gone, list) or any(key not in list(base) for key in gone):
        raise SpecError(f"`{place}.without`: needs a list of keys out of {', '.join(base)}; found {gone!r}")
    for key in gone:
        result.pop(key, None)
    for key, value in changes.items():
        if key == "without":
            continue
        old = result.get(key)
        merges = (
            isinstance(old, dict) and isinstance(value, dict) and value.get("type") in (None, old.get("type"))
        )
        result[key] = (
            changed(old, value, f"{place}.{key}") if merges and isinstance(old, dict) else deepcopy(value)
        )
    return result


def _spread(values: list[float | None]) -> Row:
    numbers = [value for value in values if value is not None]
    return {
        "mean": statistics.fmean(numbers) if numbers else None,
        "sd": statistics.stdev(numbers) if len(numbers) > 1 else None,
        "values": values,
    }


def _text(mean: float | None, sd: float | None, values: list[float | None], **_: Any) -> str:
    if mean is None:
        return "–"
    missing = values.count(None)
    count = f" ({len(values) - missing} of {len(values)})" if missing else ""
    return f"{mean:.1f}" + (f" ± {sd:.1f}" if sd is not None else "") + count

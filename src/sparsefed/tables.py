"""A published table as data: cell = base ← column ← row, run for every seed, summed up with its spread.

    title = "…"
    seeds = [0, 1, 2]
    metrics = ["test_accuracy_rest", "attack_accuracy"]
    [base]              # an experiment
    [columns.NAME]      # changes to it
    [rows.NAME]         # more changes; `without = ["attack"]` removes keys
    [reported.NAME]     # what the paper prints for a row, one text per metric

Cells are ordinary runs, so a table that was stopped goes on where it was and costs nothing twice.
"""

import statistics
import tomllib
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sparsefed.errors import SpecError
from sparsefed.experiment import Experiment
from sparsefed.record import Row

__all__ = ["Cell", "Table", "markdown", "read_table", "summary"]

Tree = dict[str, Any]


class Table(BaseModel):
    """What a table's file holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    title: str
    note: str = ""
    seeds: list[int] = Field(default=[0, 1, 2], min_length=1)
    metrics: list[str] = ["test_accuracy_rest", "attack_accuracy"]
    base: Tree
    columns: dict[str, Tree] = {"": {}}
    rows: dict[str, Tree]
    reported: dict[str, dict[str, str]] = {}

    def cells(self) -> Iterator["Cell"]:
        """Every run of the table: all cells of the first seed, then of the next."""
        for seed in self.seeds:
            for row, row_changes in self.rows.items():
                for column, column_changes in self.columns.items():
                    tree = _changed(_changed(self.base, column_changes), row_changes)
                    yield Cell(row, column, Experiment(**{**tree, "seed": seed}))


class Cell(NamedTuple):
    """One run of a table."""

    row: str
    column: str
    experiment: Experiment


def read_table(path: Path) -> Table:
    """The table in a TOML file; raises `SpecError` naming file and key, also for a cell that cannot be."""
    try:
        table = Table(**tomllib.loads(path.read_text()))
        list(table.cells())
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file; needed: a table in TOML") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise SpecError(f"{path}: not a table in TOML: {problem}") from None
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SpecError(f"{path}: `{where}`: {first['msg']}") from None
    except SpecError as problem:
        raise SpecError(f"{path}: {problem}") from None
    return table


def summary(table: Table, results: list[tuple[Cell, Row]]) -> list[Row]:
    """One line per cell: n, and mean and standard deviation of every metric."""
    lines = []
    for row in table.rows:
        for column in table.columns:
            found = [result for cell, result in results if (cell.row, cell.column) == (row, column)]
            line: Row = {"row": row, "column": column, "n": len(found)}
            line["outcome"] = ", ".join(sorted({result["outcome"] for result in found}))
            for metric in table.metrics:
                line[metric] = _spread([result.get(metric) for result in found])
                line[f"{metric}_reported"] = table.reported.get(row, {}).get(metric)
            lines.append(line)
    return lines


def markdown(table: Table, lines: list[Row], environment: Row, command: str) -> str:
    """The table as Markdown, with what it was made with and how to make it again."""
    reported = [metric for metric in table.metrics if any(line[f"{metric}_reported"] for line in lines)]
    columns = list(table.columns) != [""]
    heads = ["", *([""] if columns else [])]
    for metric in table.metrics:
        heads += [metric.replace("_", " "), *(["paper"] if metric in reported else [])]
    heads += ["n", "outcome"]
    body = []
    for line in lines:
        cells = [line["row"], *([line["column"]] if columns else [])]
        for metric in table.metrics:
            cells += [line[metric], *([line[f"{metric}_reported"] or ""] if metric in reported else [])]
        body.append([*cells, str(line["n"]), line["outcome"]])
    rules = ["---" if not head else "---:" for head in heads[:-1]] + ["---"]
    grid = "\n".join("| " + " | ".join(cells) + " |" for cells in [heads, rules, *body])
    made = ", ".join(f"{key} {value}" for key, value in environment.items())
    note = f"{table.note.strip()}\n\n" if table.note else ""
    foot = f"Mean ± standard deviation over n seeds. Made with {made}, by `{command}`."
    return f"## {table.title}\n\n{note}{grid}\n\n{foot}\n"


def _changed(base: Tree, changes: Tree) -> Tree:
    """`base` with `changes` laid over it; a part of another type replaces the old one whole."""
    result = deepcopy(base)
    for key in changes.get("without", []):
        result.pop(key, None)
    for key, value in changes.items():
        if key == "without":
            continue
        old = result.get(key)
        merges = (
            isinstance(old, dict) and isinstance(value, dict) and value.get("type") in (None, old.get("type"))
        )
        result[key] = _changed(old, value) if merges and isinstance(old, dict) else deepcopy(value)
    return result


def _spread(values: list[float | None]) -> str:
    numbers = [value for value in values if value is not None]
    if not numbers:
        return "–"
    spread = f" ± {statistics.stdev(numbers):.1f}" if len(numbers) > 1 else ""
    count = f" ({len(numbers)} of {len(values)})" if len(numbers) < len(values) else ""
    return f"{statistics.fmean(numbers):.1f}{spread}{count}"

"""A published table as data: cell = base ← column ← row, run for every seed, summed up with its spread.

    title = "…"
    seeds = [0, 1, 2]
    metrics = ["test_accuracy_rest", "attack_accuracy"]
    [base]              # an experiment
    [columns.NAME]      # changes to it
    [rows.NAME]         # more changes; `without = ["attack"]` removes keys
    [reported.NAME]     # what the paper prints for a row, one text per metric; or, by column, several

Cells are ordinary runs, so an interrupted table resumes and no run is made twice.
`docs/tables.md` tells more.
"""

import statistics
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Annotated, NamedTuple, Self

from pydantic import Field, model_validator

from sparsefed.core.errors import NoDataError, SparseFedError, SpecError, StaleError, did_you_mean, named
from sparsefed.core.merge import Tree
from sparsefed.core.origin import Layer, Origin, Typed, origin_of, read_from
from sparsefed.core.places import look_beside
from sparsefed.core.spec import Spec
from sparsefed.core.toml import read_toml
from sparsefed.federation.experiment import Experiment, layered
from sparsefed.federation.rehearsal import in_miniature, rehearse
from sparsefed.runs.record import Outcome, Row
from sparsefed.runs.simulate import METRICS

__all__ = ["Cell", "Table", "read_table", "summary", "typed_over"]


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
    reported: dict[str, dict[str, str | dict[str, str]]] = Field(default={})
    """What the paper prints for a row, by metric; where columns differ, by column and then by metric."""

    @model_validator(mode="after")
    def _sense(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise SpecError(f"expected each seed once, found {self.seeds}", ["seeds"])
        for metric in self.metrics:
            if metric not in METRICS:
                raise _unknown("metric", metric, METRICS, ["metrics"])
        for row, texts in self.reported.items():
            if row not in self.rows:
                raise _unknown("row", row, self.rows, ["reported", row])
            for key, text in texts.items():
                self._known(key, text, ["reported", row, key])
        return self

    def _known(self, key: str, text: str | dict[str, str], path: list[str]) -> None:
        """Raises `SpecError` where what is reported belongs to no column or metric of the table."""
        if isinstance(text, str):
            if key not in self.metrics:
                raise _unknown("metric", key, self.metrics, path)
        elif key not in self.columns:
            raise _unknown("column", key, self.columns, path)
        else:
            for metric, inner in text.items():
                self._known(metric, inner, [*path, metric])

    def cells(self) -> Iterator["Cell"]:
        """Every run of the table: all cells of the first seed, then of the next."""
        begun = {cell: self._experiment(*cell, self.seeds[0]) for cell in product(self.rows, self.columns)}
        for seed in self.seeds:
            for (row, column), experiment in begun.items():
                name = f"row `{row}`" + (f", column `{column}`" if column else "") + f", seed {seed}"
                yield Cell(row, column, name, read_from(experiment.but(seed=seed), origin_of(experiment)))

    def excuses(self, problem: SparseFedError) -> bool:
        """Whether a cell may end so without the table having failed: never, in a table of your own."""
        return False

    def layers(self, row: str, column: str) -> list[Layer]:
        """What a cell is made of, each layer laid over those before it."""
        return [
            Layer(self.base, place=("base",)),
            Layer(self.columns[column], place=("columns", column)),
            Layer(self.rows[row], place=("rows", row)),
        ]

    def printed(self, row: str, column: str, metric: str) -> str | None:
        """What the paper prints for one number of a cell, if anything."""
        texts = self.reported.get(row, {})
        own = texts.get(column)
        found = own.get(metric) if isinstance(own, dict) else texts.get(metric)
        return found if isinstance(found, str) else None

    def _experiment(self, row: str, column: str, seed: int) -> Experiment:
        layers = [*self.layers(row, column), *origin_of(self).layers]
        for layer in layers:
            if "seed" in layer.changes:
                found = "expected no seed here; the table's `seeds` apply to every cell"
                raise layer.blamed(SpecError(found, ["seed"]))
        return layered(layers, f"row `{row}`" + (f", column `{column}`" if column else ""), seed=seed)


class Cell(NamedTuple):
    """One run of a table."""

    row: str
    column: str
    name: str
    """Row, column and seed in words."""
    experiment: Experiment


def read_table(path: Path, changes: Iterable[str] = ()) -> Table:
    """The table in a TOML file; raises `SpecError` naming file and key, also for a cell that cannot be.

    `changes`, as `--set` takes them, are laid over every cell.
    """
    content = read_toml(path, "a table")
    look_beside(path)
    try:
        table = read_from(Table(**content), typed_over(changes))
    except SpecError as problem:
        raise problem.seen_from(str(path)) from None
    with named(str(path)):
        _rehearse(table)
    return table


def typed_over(changes: Iterable[str]) -> Origin:
    """The origin of a table with `changes`, as `--set` takes them, over every cell."""
    words = list(changes)
    return Origin(layers=(Typed.of(words),) if words else ())


def _rehearse(table: Table) -> None:
    """Try each of the user's own parts once; this reads all cells."""
    tried = set()
    for cell in table.cells():
        toy = in_miniature(cell.experiment)
        if toy is not None and toy.digest() not in tried:
            tried.add(toy.digest())
            with named(f"row `{cell.row}`" + (f", column `{cell.column}`" if cell.column else "")):
                rehearse(toy)


def summary(table: Table, results: list[tuple[Cell, Outcome]]) -> list[Row]:
    """One line per cell: n, and of every metric the mean, the standard deviation and each seed's value.

    Values are in the order of the seeds, None where a run has none. What failed is told under `failed`, by
    seed and reason.
    """
    lines = []
    for row in table.rows:
        for column in table.columns:
            ends = {
                cell.experiment.seed: end for cell, end in results if (cell.row, cell.column) == (row, column)
            }
            mine = {seed: ends[seed] for seed in table.seeds if seed in ends}
            found = {seed: end for seed, end in mine.items() if not isinstance(end, SparseFedError)}
            failed = {seed: str(end) for seed, end in mine.items() if seed not in found}
            line: Row = {"row": row, "column": column, "seeds": table.seeds, "n": len(found)}
            outcomes = {_told(end) for end in mine.values()}
            line |= {"outcome": ", ".join(sorted(outcomes)) or "not run", "failed": failed}
            for metric in table.metrics:
                line[metric] = _spread([found.get(seed, {}).get(metric) for seed in table.seeds])
                line[metric]["reported"] = table.printed(row, column, metric)
            lines.append(line)
    return lines


def _unknown(what: str, name: str, known: Iterable[str], path: list[str]) -> SpecError:
    hint = did_you_mean(name, known) or ";"
    return SpecError(f"unknown {what} `{name}`{hint} expected one of {', '.join(known)}", path)


def _told(end: Outcome) -> str:
    if isinstance(end, NoDataError):
        return "no data"
    if isinstance(end, StaleError):
        return end.outcome
    return "failed" if isinstance(end, SparseFedError) else end["outcome"]


def _spread(values: list[float | None]) -> Row:
    numbers = [value for value in values if value is not None]
    return {
        "mean": statistics.fmean(numbers) if numbers else None,
        "sd": statistics.stdev(numbers) if len(numbers) > 1 else None,
        "values": values,
    }

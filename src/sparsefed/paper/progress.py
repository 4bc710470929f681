"""How much of the paper has been run, and what came out beside what the paper prints."""

from pathlib import Path

from sparsefed.paper.items import Item, Scaled, items
from sparsefed.paper.scales import SCALES
from sparsefed.report.markdown import measured
from sparsefed.runs.record import Outcome, Record, Row, ended
from sparsefed.runs.tables import Cell, summary

__all__ = ["overview"]

Ended = list[tuple[Cell, Outcome]]


def overview(runs: Path) -> list[Row]:
    """A row per item: its title and remark, and for each scale how many runs there are and have ended.

    `found` holds what ended runs say where the paper prints a number: row, column, metric, the mean over the
    seeds in words, and the printed number.
    """
    made = {folder.name for folder in runs.iterdir()} if runs.is_dir() else set()
    return [
        {"item": str(name), "title": item.title, "remark": " ".join(item.remark.split())}
        | {scale: _state(item, scale, runs, made) for scale in SCALES}
        for name, item in items().items()
    ]


def _state(item: Item, scale: str, runs: Path, made: set[str]) -> Row:
    table = item.at(scale)
    size = len(table.rows) * len(table.columns) * len(table.seeds)
    records = [(cell, Record(runs, cell.experiment)) for cell in table.cells()] if made else []
    found = [(cell, ended(record)) for cell, record in records if record.folder.name in made]
    whole: Ended = [(cell, end) for cell, end in found if isinstance(end, dict)]
    return {"runs": size, "ended": len(whole), "found": _found(table, whole)}


def _found(table: Scaled, done: Ended) -> list[Row]:
    return [
        {
            "row": line["row"],
            "column": line["column"],
            "metric": metric,
            "found": measured(line, metric),
            "paper": line[metric]["reported"],
        }
        for line in (summary(table, done) if done else [])
        for metric in table.metrics
        if line[metric]["reported"] is not None and line[metric]["mean"] is not None
    ]

"""A report as one page of HTML: a table to sort and filter, its curves and its experiments."""

from typing import Any

from sparsefed.core.toml import to_toml
from sparsefed.report.figures import as_svg
from sparsefed.report.pages import page, prose
from sparsefed.report.plots import ACCURACIES, Curve, curves_figure
from sparsefed.report.sheet import Entry, Sheet, number

__all__ = ["as_page"]


def as_page(sheet: Sheet, command: str) -> str:
    """The page, self-contained: it opens from disk and asks nothing of the network."""
    columns = _first_seed(sheet)
    return page(
        "report.html",
        title=sheet.title,
        sheet=sheet,
        note=prose(sheet.note),
        picture=as_svg(curves_figure(columns, sheet.metrics)) if columns else "",
        printed=[any(entry.reported[i] for entry in sheet.entries) for i in range(len(sheet.metrics))],
        lines=[_line(sheet, entry) for entry in sheet.entries],
        environment=", ".join(f"{key} {value}" for key, value in sheet.environment.items()),
        seconds=sum(_seconds(entry) for entry in sheet.entries),
        command=command,
    )


def _first_seed(sheet: Sheet) -> dict[str, list[Curve]]:
    """The lines of the picture, by column: what has run of the first seed, or every run of a folder."""
    columns: dict[str, list[Curve]] = {}
    for entry in sheet.entries:
        for record in entry.records:
            if sheet.seed in {None, record.experiment.seed}:
                curve = Curve.of(entry.name[0], record.experiment, record.rows())
                columns.setdefault(entry.name[-1] if sheet.columns else "", []).append(curve)
    return columns


def _line(sheet: Sheet, entry: Entry) -> dict[str, Any]:
    curves = [
        Curve.of(f"seed {record.experiment.seed}", record.experiment, record.rows())
        for record in entry.records
    ]
    spec = entry.records[0].experiment.to_dict() if entry.records else {}
    return {
        "name": entry.name,
        "numbers": [number(sheet, entry, place) for place in range(len(sheet.metrics))],
        "means": entry.means,
        "reported": entry.reported,
        "n": entry.n,
        "outcome": entry.outcome,
        "runs": [record.folder.name for record in entry.records],
        "curves": as_svg(curves_figure({"": curves}, ACCURACIES)) if curves else "",
        "spec": to_toml(spec) if spec else "",
    }


def _seconds(entry: Entry) -> float:
    """What the runs of a line took, added up."""
    found = [record.result for record in entry.records]
    keys = ("seconds_honest", "seconds_attack", "seconds_server")
    return sum((result.get(key) or 0.0) for result in found if result is not None for key in keys)

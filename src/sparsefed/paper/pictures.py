"""Pictures of figures whose horizontal axis is not the round: a metric, or a key of the experiment."""

from collections.abc import Sequence
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from sparsefed.paper.items import Scaled
from sparsefed.report.colors import MARKERS, styles
from sparsefed.report.figures import blank_figure, legend, save, title
from sparsefed.report.plots import Curve
from sparsefed.runs.headings import heading
from sparsefed.runs.record import Outcome
from sparsefed.runs.results import METRICS
from sparsefed.runs.tables import Cell

__all__ = ["draw", "unbeaten"]

Point = tuple[float, float]
Results = Sequence[tuple[Cell, Outcome]]


def draw(table: Scaled, results: Results, path: Path) -> None:
    """The other metrics against what the table is drawn over, of the first seed: a point per cell.

    Over a metric, a series is a row, and a line joins those of its points that no other beats in both; over a
    key, a line joins all points, and a series is a column if the rows set the key.
    """
    metrics = [metric for metric in table.metrics if metric != table.over]
    figure = blank_figure(1.4 + 4.3 * len(metrics), 4.2)
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    series = _series(table, results)
    handles = []
    for curve, (color, dashes) in zip(series, styles(curve.defense for curve in series), strict=True):
        look = {"color": color, "ls": dashes, "marker": MARKERS[dashes], "lw": 1.4, "ms": 5}
        for panel, metric in zip(panels, metrics, strict=True):
            points = [(row[table.over], row[metric]) for row in curve.rows if row.get(metric) is not None]
            if table.over in METRICS:
                panel.plot(*_axes(unbeaten(points)), color=color, ls=dashes, lw=1.4)
                look["ls"] = ""
            panel.plot(*_axes(sorted(points)), **look)
        handles.append(panels[0].get_lines()[-1])
    for panel, metric in zip(panels, metrics, strict=True):
        panel.set(xlabel=heading(table.over), ylabel=heading(metric))
        if table.over not in METRICS:
            panel.set_xscale("log")
            panel.minorticks_off()
            ticks = sorted({row[table.over] for curve in series for row in curve.rows})
            panel.set_xticks(ticks, [f"{tick:,}" for tick in ticks], rotation=30)
        panel.grid(alpha=0.3)
    legend(figure, handles, [curve.name for curve in series])
    title(figure, f"{table.title}, seed {table.seeds[0]}")
    save(figure, path)


def _series(table: Scaled, results: Results) -> list[Curve]:
    """The points of each row or column; their coordinates are `over` and the metrics."""
    path = table.over.split(".")
    by_column = all(_value(changes, path) is not None for changes in table.rows.values())
    found: dict[str, tuple[Cell, list[dict[str, Any]]]] = {}
    for cell, end in results:
        if cell.experiment.seed != table.seeds[0] or not isinstance(end, dict):
            continue
        x = end[table.over] if table.over in METRICS else _value(cell.experiment.to_dict(), path)
        if x is not None:
            name = cell.column if by_column else cell.row
            found.setdefault(name, (cell, []))[1].append({**end, table.over: x})
    return [Curve.of(name, cell.experiment, rows) for name, (cell, rows) in found.items()]


def _axes(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def unbeaten(points: Sequence[Point]) -> list[Point]:
    """The points with which an attacker wins most for what it costs: none has more of both."""
    best: list[Point] = []
    for point in sorted(points, reverse=True):
        if not best or point[1] > best[-1][1]:
            best.append(point)
    return best


def _value(tree: Any, path: Sequence[str]) -> Any:
    """The value of a dotted key, None where there is none."""
    try:
        return reduce(getitem, path, tree)
    except (KeyError, TypeError):
        return None

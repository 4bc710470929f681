"""Pictures of runs: what the table says, over the rounds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sparsefed.defenses import Mean
from sparsefed.defenses.choose_k import least_k
from sparsefed.federation.experiment import Experiment
from sparsefed.federation.metrics import Evaluation
from sparsefed.protocol.anchors import Unanchored
from sparsefed.protocol.clips import Unclipped
from sparsefed.report.colors import ANCHORED, BLACK, GRAY, PALETTE, UNDEFENDED, color_of, dashes, styles
from sparsefed.report.figures import (
    blank_figure,
    end_labels,
    legend,
    panel_title,
    percent_limits,
    round_axis,
    save,
    title,
    wrapped,
)
from sparsefed.runs.headings import heading
from sparsefed.runs.record import Row

__all__ = ["ACCURACIES", "Curve", "curves_figure", "kind_of", "plot_curves", "plot_loss"]

ACCURACIES = ("test_accuracy", "attack_accuracy")
MOST_LINES = 6
"""More lines than these in one panel cannot be told apart: each gets a panel of its own."""
MOST_GRAY = 12
"""How many lines stand behind each of those at most."""


def kind_of(experiment: Experiment) -> str:
    """What decides the color of an experiment: the class name of its defense, and whether it is anchored."""
    bare = isinstance(experiment.defense, Mean) and isinstance(experiment.clip, Unclipped)
    rule = UNDEFENDED if bare else type(experiment.defense).__name__
    return rule if isinstance(experiment.anchor, Unanchored) else rule + ANCHORED


class Curve(NamedTuple):
    """The rows of one run, as a line in a picture."""

    name: str
    defense: str
    """Its `kind_of`, which decides its color."""
    rows: list[Row]

    @classmethod
    def of(cls, name: str, experiment: Experiment, rows: list[Row]) -> "Curve":
        """The line of a run."""
        return cls(name, kind_of(experiment), rows)

    def points(self, metric: str) -> tuple[list[int], list[float]]:
        """Rounds and values where the metric was measured; what a table counts or adds up has none."""
        known = metric.removeprefix("twin_") in Evaluation._fields
        looks = [row for row in self.rows if known and isinstance(row.get(metric), int | float)]
        return [row["round"] for row in looks], [row[metric] for row in looks]


Columns = Mapping[str, Sequence[Curve]]


def plot_curves(columns: Columns, metrics: Sequence[str], path: Path, text: str) -> None:
    """Each metric over the rounds, a panel per column and a line per run; `path` names the format.

    Metrics that are not measured over the rounds, such as sums of seconds, are left out; if none is left, the
    accuracies are drawn. With many runs each has a panel of its own, with some of the others in gray behind.
    """
    figure = curves_figure(columns, metrics)
    title(figure, text)
    save(figure, path)


def curves_figure(columns: Columns, metrics: Sequence[str]) -> Any:
    """The picture of `plot_curves` without its title; columns without a run are left out."""
    columns = {column: curves for column, curves in columns.items() if curves} or columns
    shown = _present(columns, metrics) or _present(columns, ACCURACIES) or ["test_accuracy"]
    if len(_names(columns)) <= MOST_LINES:
        return _together(columns, shown)
    return _apart(columns, shown)


def _present(columns: Columns, metrics: Sequence[str]) -> list[str]:
    return [
        metric
        for metric in metrics
        if any(curve.points(metric)[0] for curves in columns.values() for curve in curves)
    ]


def _names(columns: Columns) -> dict[str, str]:
    """Every run's name, and what decides its color."""
    found = dict[str, str]()
    for curves in columns.values():
        for curve in curves:
            found.setdefault(curve.name, curve.defense)
    return found


def _together(columns: Columns, metrics: list[str]) -> Any:
    """Metrics below each other and columns beside each other; with one column the metrics stand in a row."""
    single = len(columns) == 1
    across, down = (len(metrics), 1) if single else (len(columns), len(metrics))
    figure = blank_figure(1.4 + (4.3 if single else 3.1) * across, 0.9 + 2.9 * down)
    panels = figure.subplots(down, across, squeeze=False, sharex=True)
    last = _last_round(columns)
    names = _names(columns)
    looks = dict(zip(names, styles(names.values()), strict=True))
    drawn = dict[str, Any]()
    for row, metric in enumerate(metrics):
        limits = _limits(columns, metric)
        for place, (name, curves) in enumerate(columns.items()):
            panel = panels[0, row] if single else panels[row, place]
            for curve in curves:
                drawn.setdefault(curve.name, _line(panel, curve, metric, looks[curve.name]))
            panel.set_ylim(limits)
            if single:
                panel_title(panel, heading(metric), 40)
                if row == len(metrics) - 1:
                    ends = _ends(curves, metric)
                    end_labels(panel, [(*end, run, looks[run][0]) for run, end in ends.items()])
            elif row == 0:
                panel_title(panel, name)
            round_axis(panel, last)
            if not single:
                panel.label_outer()
        if not single:
            panels[row, 0].set_ylabel(wrapped(heading(metric), 28))
    first = next(iter(columns.values()))
    if not single or len(_ends(first, metrics[-1])) < len(first):
        legend(figure, [drawn[name] for name in names], list(names))
    return figure


def _apart(columns: Columns, metrics: list[str]) -> Any:
    """A panel per run, four in a row, for each metric; dashes are the columns, and gray what others do."""
    from matplotlib.lines import Line2D

    names = _names(columns)
    down = -(-len(names) // 4)
    figure = blank_figure(11, (1.2 + 1.5 * down) * len(metrics))
    last = _last_round(columns)
    parts = figure.subfigures(len(metrics), 1, squeeze=False)[:, 0]
    others = _some(next(iter(columns.values())))
    for part, metric in zip(parts, metrics, strict=True):
        limits = _limits(columns, metric)
        panels = part.subplots(down, 4, squeeze=False, sharex=True, sharey=True)
        for panel, name in zip(panels.flat, names, strict=False):
            for curve in others:
                panel.plot(*curve.points(metric), color=GRAY, lw=0.6, alpha=0.6, zorder=1)
            for place, curves in enumerate(columns.values()):
                for curve in curves:
                    if curve.name == name:
                        _line(panel, curve, metric, (color_of(curve.defense), dashes(place)))
            panel_title(panel, name, 27)
            panel.set_ylim(limits)
            round_axis(panel, last)
            panel.set_xlabel("")
        for panel in panels.flat[len(names) :]:
            panel.remove()
        part.supylabel(heading(metric))
        part.supxlabel("round")
    if len(columns) > 1:
        handles = [Line2D([], [], color=BLACK, ls=dashes(place)) for place in range(len(columns))]
        legend(figure, handles, list(columns))
    return figure


def _some(curves: Sequence[Curve]) -> Sequence[Curve]:
    """At most `MOST_GRAY` of the runs, evenly chosen."""
    return curves[:: -(-len(curves) // MOST_GRAY) or 1]


def _line(panel: Any, curve: Curve, metric: str, look: tuple[str, Any]) -> Any:
    """Draw one run in a panel, in its color and dashes."""
    rounds, values = curve.points(metric)
    marker = "o" if len(rounds) == 1 else ""
    (line,) = panel.plot(rounds, values, color=look[0], ls=look[1], marker=marker, lw=1.8)
    return line


def _ends(curves: Sequence[Curve], metric: str) -> dict[str, tuple[float, float]]:
    found = {curve.name: curve.points(metric) for curve in curves}
    return {name: (rounds[-1], values[-1]) for name, (rounds, values) in found.items() if rounds}


def _limits(columns: Columns, metric: str) -> tuple[float, float]:
    """One pair for all panels of a metric, so that they can be compared."""
    values = [value for curves in columns.values() for curve in curves for value in curve.points(metric)[1]]
    if "accuracy" in metric:
        return percent_limits(values)
    low, high = min(values), max(values)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def _last_round(columns: Columns) -> int:
    return max(
        (row["round"] for curves in columns.values() for curve in curves for row in curve.rows), default=1
    )


def plot_loss(curve: np.ndarray, max_loss: float, path: Path) -> None:
    """The loss against k, with the choice marked; `path` names the format."""
    figure = blank_figure(6, 3.8)
    k = np.unique(np.geomspace(1, len(curve) - 1, 500).astype(int))
    chosen = least_k(curve, max_loss)
    panel = figure.subplots()
    panel.plot(k, curve[k], lw=2, color=PALETTE[0])
    panel.axhline(max_loss, color=GRAY, lw=1, ls="--")
    panel.axvline(chosen, color=GRAY, lw=1, ls="--")
    panel.set(xscale="log", xlabel="k", ylabel="share of the ℓ1 mass lost", ylim=(0, 1.02))
    panel.set_title(f"k = {chosen:,} of {len(curve) - 1:,} loses {curve[chosen]:.3f}")
    panel.grid(alpha=0.3)
    save(figure, path)

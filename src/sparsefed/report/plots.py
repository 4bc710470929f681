"""Pictures of runs."""

from pathlib import Path
from typing import Any

import numpy as np

from sparsefed.core.files import readable_errors
from sparsefed.defenses.choose_k import least_k
from sparsefed.runs.record import Row

__all__ = ["blank_figure", "plot_accuracies", "plot_columns", "plot_loss"]


def plot_accuracies(runs: dict[str, list[Row]], path: Path, title: str) -> None:
    """Test and attack accuracy over the rounds, one line per run; `path` names the format."""
    many = len(runs) > 6  # more names than a panel has room for
    figure = blank_figure(11.5 if many else 9, 3.8)
    panels = figure.subplots(1, 2, sharey=True)
    for panel, key, text in zip(
        panels, ("test_accuracy", "attack_accuracy"), ("test accuracy", "attack accuracy"), strict=True
    ):
        _draw(panel, runs, key)
        panel.set(title=text, xlabel="round")
    panels[0].set_ylabel("percent")
    if many:
        _legend_beside(figure, panels[0])
    else:
        panels[0].legend(loc="lower right")
    figure.suptitle(title)
    with readable_errors(path):
        figure.savefig(path, dpi=130)


def plot_columns(columns: dict[str, dict[str, list[Row]]], path: Path, title: str) -> None:
    """Test accuracy above attack accuracy, a panel per column and a line per row of a table."""
    figure = blank_figure(2.6 + 2.6 * len(columns), 6.2)
    panels = figure.subplots(2, len(columns), sharex=True, sharey=True, squeeze=False)
    for place, (name, runs) in enumerate(columns.items()):
        for panel, key in zip(panels[:, place], ("test_accuracy", "attack_accuracy"), strict=True):
            _draw(panel, runs, key)
        panels[0, place].set_title(name)
        panels[1, place].set_xlabel("round")
    panels[0, 0].set_ylabel("test accuracy, percent")
    panels[1, 0].set_ylabel("attack accuracy, percent")
    _legend_beside(figure, panels[0, 0])
    figure.suptitle(title)
    with readable_errors(path):
        figure.savefig(path, dpi=110)


def plot_loss(curve: np.ndarray, max_loss: float, path: Path) -> None:
    """The loss against k, with the choice marked; `path` names the format."""
    figure = blank_figure(6, 3.8)
    k = np.unique(np.geomspace(1, len(curve) - 1, 500).astype(int))
    chosen = least_k(curve, max_loss)
    panel = figure.subplots()
    panel.plot(k, curve[k], lw=2)
    panel.axhline(max_loss, color="gray", lw=1, ls="--")
    panel.axvline(chosen, color="gray", lw=1, ls="--")
    panel.set(xscale="log", xlabel="k", ylabel="share of the ℓ1 mass lost", ylim=(0, 1))
    panel.set_title(f"k = {chosen:,} of {len(curve) - 1:,} loses {curve[chosen]:.3f}")
    panel.grid(alpha=0.3)
    with readable_errors(path):
        figure.savefig(path, dpi=130)


def blank_figure(width: float, height: float) -> Any:
    """An empty figure of that size in inches, drawn without a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _legend_beside(figure: Any, panel: Any) -> None:
    figure.legend(*panel.get_legend_handles_labels(), loc="outside right center", fontsize="small")


def _draw(panel: Any, runs: dict[str, list[Row]], key: str) -> None:
    """One line per run; more than the ten colors that differ clearly are told apart by dashes too."""
    for place, (name, rows) in enumerate(runs.items()):
        looks = [row for row in rows if row.get(key) is not None]
        style = ("-", "--", ":")[place // 10 % 3]
        rounds, values = [row["round"] for row in looks], [row[key] for row in looks]
        panel.plot(rounds, values, style, label=name, lw=2)
    panel.set(ylim=(-2, 102))
    panel.grid(alpha=0.3)

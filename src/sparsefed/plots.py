"""Pictures of runs."""

from pathlib import Path

from sparsefed.files import readable_errors
from sparsefed.record import Row

__all__ = ["plot_accuracies"]


def plot_accuracies(runs: dict[str, list[Row]], path: Path, title: str) -> None:
    """Test and attack accuracy over the rounds, one line per run, as a PNG at `path`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, sharey=True)
    for panel, key, text in zip(
        panels, ("test_accuracy", "attack_accuracy"), ("test accuracy", "attack accuracy"), strict=True
    ):
        for name, rows in runs.items():
            looks = [row for row in rows if row.get(key) is not None]
            panel.plot([row["round"] for row in looks], [row[key] for row in looks], label=name, lw=2)
        panel.set(title=text, xlabel="round", ylim=(-2, 102))
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("percent")
    panels[0].legend(loc="lower right")
    figure.suptitle(title)
    with readable_errors(path):
        figure.savefig(path, dpi=130)

"""A frontier as a picture: a panel for every goal and share of compromised clients."""

from pathlib import Path

from sparsefed.frontier.plan import Plan
from sparsefed.frontier.points import Point, grouped
from sparsefed.report.colors import GRAY, MARKERS, styles
from sparsefed.report.figures import blank_figure, percent_limits, save, wrapped
from sparsefed.report.plots import kind_of

__all__ = ["plot_frontier"]

_ACROSS = 3
"""Panels in a row."""
_ARROW = {"arrowstyle": "->", "lw": 0.8}


def plot_frontier(plan: Plan, points: list[Point], path: Path) -> None:
    """Worst attack success against test accuracy of what was reported, never of the search's own numbers.

    Hollow markers are the same points at twice the rounds.
    """
    groups = grouped(points)
    across = min(len(groups), _ACROSS)
    down = -(-len(groups) // across)
    figure = blank_figure(1.5 + 4.2 * across, 4.2 * down)
    panels = figure.subplots(down, across, squeeze=False)
    names = list(plan.defenses)
    kinds = [kind_of(plan.experiment(name)) for name in names]
    for panel, ((goal, share), group) in zip(panels.flat, groups.items(), strict=False):
        absent: list[str] = []
        for name, (color, dashes) in zip(names, styles(kinds), strict=True):
            mine = [point for point in group if point.defense == name]
            own = sorted((p.reported.values, p.doubled) for p in mine if p.reported is not None)
            values = [value for value, _ in own]
            marker = MARKERS[dashes]
            style = {"marker": marker, "ls": dashes, "color": color, "lw": 1.5, "ms": 5}
            panel.plot([x for x, _ in values], [y for _, y in values], label=name, **style)
            if not own:
                absent.append(name)
            for now, doubled in own:
                if doubled is not None:
                    later = doubled.values
                    panel.plot(*later, marker, mfc="none", color=color, ms=6)
                    panel.annotate("", later, now, arrowprops=_ARROW | {"color": color})
        panel.set(title=f"{goal}, {100 * share:g} % compromised", xlabel="test accuracy, %")
        shown = [each for point in group for each in (point.reported, point.doubled) if each is not None]
        panel.set_ylim(percent_limits(each.worst_attack_accuracy for each in shown))
        panel.grid(alpha=0.3)
        if absent:
            told = wrapped(f"not reported: {', '.join(absent)}", 44)
            panel.text(0.02, 0.98, told, transform=panel.transAxes, va="top", fontsize="x-small", color=GRAY)
    for panel in panels[:, 0]:
        panel.set_ylabel("worst attack's success, %")
    for panel in panels.flat[len(groups) :]:
        panel.remove()
    known = panels[0, 0].get_legend_handles_labels()
    figure.legend(*known, loc="outside right center", fontsize="small", frameon=False)
    save(figure, path)

"""What all pictures share: paper, titles that fit, ticks, limits from the data, labels at the lines' ends."""

import textwrap
import warnings
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from sparsefed.core.files import readable_errors

__all__ = [
    "as_svg",
    "blank_figure",
    "end_labels",
    "legend",
    "panel_title",
    "percent_limits",
    "round_axis",
    "save",
    "title",
    "wrapped",
]


def blank_figure(width: float, height: float) -> Any:
    """An empty figure of that size in inches, drawn without a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def title(figure: Any, text: str) -> None:
    """A title as it is written (no mathematics in dollar signs), on as many lines as it needs."""
    _plain(figure.suptitle(wrapped(text, figure.get_figwidth() * 9.5)))


def panel_title(panel: Any, text: str, columns: float = 24) -> None:
    """The same above one panel."""
    _plain(panel.set_title(wrapped(text, columns), fontsize="medium"))


def wrapped(text: str, columns: float) -> str:
    """`text` on lines of about so many letters."""
    return "\n".join(textwrap.wrap(" ".join(text.split()), max(12, int(columns)), break_long_words=True))


def round_axis(panel: Any, last: int) -> None:
    """From 0 to the last round, with few, whole, round ticks."""
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    panel.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, steps=[1, 2, 2.5, 5, 10]))
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    panel.set(xlabel="round", xlim=(0, 1.02 * last))
    panel.grid(alpha=0.3)


def percent_limits(values: Iterable[float]) -> tuple[float, float]:
    """Limits that show the data: at least ten points apart, and within 0 to 100 with a little margin."""
    found = list(values)
    low, high = min(found, default=0.0), max(found, default=100.0)
    missing = max(0.0, 10.0 - (high - low)) / 2
    low, high = low - missing, high + missing
    margin = 0.05 * (high - low)
    return max(low - margin, -2.0), min(high + margin, 102.0)


def end_labels(panel: Any, ends: list[tuple[float, float, str, str]]) -> None:
    """Names beside the last points (x, y, name, color), moved apart where they would overlap."""
    low, high = panel.get_ylim()
    texts = [wrapped(name, 26) for _, _, name, _ in ends]
    heights = [0.06 * (high - low) * (1 + text.count("\n")) for text in texts]
    places = [y for _, y, _, _ in ends]
    order = sorted(range(len(ends)), key=lambda i: places[i])
    for before, after in pairwise(order):
        places[after] = max(places[after], places[before] + (heights[before] + heights[after]) / 2)
    if ends and (over := places[order[-1]] - high) > 0:
        for i in order:
            places[i] -= over
    for (x, y, _, color), text, place in zip(ends, texts, places, strict=True):
        label = panel.annotate(
            text,
            (x, y),
            xytext=(1.03, (place - low) / (high - low)),
            textcoords="axes fraction",
            color=color,
            va="center",
            fontsize="small",
            annotation_clip=False,
        )
        _plain(label)


def legend(figure: Any, handles: list[Any], labels: list[str]) -> None:
    """A legend below the panels, without a box: a page may be dark."""
    columns = max(1, int(figure.get_figwidth() * 9 // (max(map(len, labels), default=1) + 6)))
    blank = [" "] * len(labels)
    look = {"handlelength": 5.0} if len(labels) > 5 else {}  # long dashes and dots need room to be seen
    drawn = figure.legend(handles, blank, loc="outside lower center", ncols=columns, frameon=False, **look)
    for text, label in zip(drawn.get_texts(), labels, strict=True):
        text.set_text(wrapped(label, figure.get_figwidth() * 9))
        _plain(text)


def save(figure: Any, path: Path) -> None:
    """Write the picture; its suffix names the format. Raises `RunError` where it cannot be written."""
    with readable_errors(path), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a name the font has no letters for
        figure.savefig(path, dpi=130)


def as_svg(figure: Any) -> str:
    """The picture as SVG for a page: without a background, its black in the color of the page's text."""
    import io

    from matplotlib import rc_context

    text = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "sparsefed"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace("#000000", "currentColor")
    return svg.replace("<text ", '<text fill="currentColor" ')


def _plain(text: Any) -> None:
    text.set_parse_math(False)

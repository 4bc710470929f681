"""Tables in the terminal: as wide as it is, numbers of a column with the same decimals, names as they are."""

from collections.abc import Container, Iterable, Mapping
from pathlib import PurePath
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

__all__ = [
    "Fitted",
    "beside",
    "evaluations",
    "facts",
    "number",
    "numbers",
    "results",
    "runs",
    "table",
]

Row = dict[str, Any]


class Fitted:
    """A table that fits: columns that say the same in every line stand below it, but for those that are to
    `stay`, and words stay whole.

    Columns for which there is no room are left out from the right, and named.
    """

    def __init__(
        self, title: str, heads: Mapping[str, str], rows: list[Row], stay: Container[str] = ()
    ) -> None:
        cells = {key: numbers(key, [row.get(key) for row in rows]) for key in heads}
        alike = {key for key, column in cells.items() if len(rows) > 1 and len(set(column)) == 1}
        same = {key for key in alike if key not in stay}
        self.title, self.heads, self.rows = title, heads, rows
        self.cells = {key: column for key, column in cells.items() if key not in same}
        self.same = {heads[key]: cells[key][0] for key in heads if key in same and cells[key][0] != NOTHING}

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        shown = self._fitting(options.max_width)
        grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
        widths = self._widths(shown, options.max_width)
        for key, width in widths.items():
            texts = any(isinstance(row.get(key), str) for row in self.rows)
            justify = "left" if texts else "right"
            cut = key in CUT
            grid.add_column(
                Text(self.heads[key]), justify=justify, width=width, no_wrap=cut, overflow="ellipsis"
            )
        for line in zip(*(self.cells[key] for key in shown), strict=True):
            grid.add_row(*map(Text, line))
        if self.title:
            yield Text(self.title, style="italic")
        if shown:
            yield grid
        if self.same and self.rows:
            yield Text("the same in every line: " + ", ".join(f"{k} {v}" for k, v in self.same.items()))
        if left := [self.heads[key] for key in self.cells if key not in shown]:
            yield Text(f"no room for: {', '.join(left)}; see --csv, or widen the terminal")
        if cut := [self.heads[key] for key in CUT & widths.keys() if widths[key] < self._widest(key)]:
            yield Text(f"cut off: {', '.join(cut)}; see --csv, or widen the terminal")

    def _least(self, key: str) -> int:
        """The width of the longest word; of a whole cell where it is copied into the next command."""
        if key in CUT:
            return 20
        texts = [self.heads[key], *self.cells[key]]
        words = texts if key in WHOLE else [word for text in texts for word in text.split()]
        return max((Text(word).cell_len for word in words), default=1)

    def _widest(self, key: str) -> int:
        return max(Text(text).cell_len for text in [self.heads[key], *self.cells[key]])

    def _widths(self, shown: list[str], width: int) -> dict[str, int]:
        """As wide as its longest cell each, less what is missing, taken where lines can be broken."""
        wanted = {key: self._widest(key) for key in shown}
        missing = sum(wanted.values()) + 2 * len(shown) - 1 - width
        while missing > 0 and (loose := [key for key in shown if wanted[key] > self._least(key)]):
            widest = max(loose, key=lambda key: wanted[key] - self._least(key))
            wanted[widest] -= 1
            missing -= 1
        return wanted

    def _fitting(self, width: int) -> list[str]:
        shown, used = [], 0
        for key in self.cells:
            used += self._least(key) + 2
            if used - 1 > width and shown:
                break
            shown.append(key)
        return shown


NOTHING = "–"
WHOLE = {"run", "name", "outcome"}
"""Columns whose cells stay whole: names are copied into the next command, outcomes keep to their line."""
CUT = {"what"}
"""Columns whose cells are cut at their end, so that a line stays one line."""


def number(key: str, value: Any) -> str:
    """One value as text: percent to one decimal, other numbers to three digits, a dash for nothing."""
    return numbers(key, [value])[0]


def numbers(key: str, values: list[Any]) -> list[str]:
    """The values of a column as text, with the same number of decimals."""
    floats = [abs(value) for value in values if isinstance(value, float)]
    largest = max(floats, default=0.0)
    decimals = 1 if _percent(key) or largest >= 100 else 2 if largest >= 10 else 3
    whole = not _percent(key) and all(value.is_integer() for value in values if isinstance(value, float))
    tiny = not _percent(key) and 0 < largest < 0.01

    def text(value: Any) -> str:
        if value is None:
            return NOTHING
        if isinstance(value, float):
            if whole:
                return str(int(value))
            return (
                f"{value:.2e}" if tiny or largest >= 1e6 else f"{round(value, decimals) + 0.0:.{decimals}f}"
            )
        return str(value)

    return [text(value) for value in values]


def _percent(key: str) -> bool:
    return "accuracy" in key or key.startswith(("stealth_loss", "error_avoided", "seconds"))


def table(title: str, columns: dict[str, str], rows: list[Row]) -> Fitted:
    """A table with one column per key of `columns`, headed by its value."""
    return Fitted(title, columns, rows, stay=columns)


def results(rows: list[Row], title: str = "") -> Fitted:
    """One line per run."""
    columns = {
        "name": "run",
        "test_accuracy": "test accuracy %",
        "attack_accuracy": "attack accuracy %",
        "seconds": "seconds",
        "outcome": "outcome",
    }
    return Fitted(title, columns, rows)


def runs(rows: list[Row]) -> Fitted:
    """One line per run in a folder, named as `show` takes it."""
    names = [PurePath(row["run"]).name for row in rows]
    short = len({name[:8] for name in names}) == len(names)
    lines = [{**row, "run": name[:8] if short else name} for row, name in zip(rows, names, strict=True)]
    columns = {
        "run": "run",
        "test_accuracy": "test %",
        "attack_accuracy": "attack %",
        "outcome": "outcome",
        "what": "what differs" if len(rows) > 1 else "what",
    }
    return Fitted("", columns, lines)


COLUMNS = {
    "round": "round",
    "test_accuracy": "test %",
    "attack_accuracy": "attack %",
    "test_accuracy_rest": "rest %",
    "twin_attack_accuracy": "twin's attack %",
    "loss": "loss",
    "honest_norm": "honest norm",
    "clipped": "share clipped",
    "support": "moved",
    "mass_lost": "mass lost",
    "kept": "kept",
    "compromised_kept": "hostile kept",
}
"""What a round's line shows, and its head."""


def evaluations(rows: list[Row], most: int = 12) -> Fitted:
    """The evaluations of one run, thinned out to `most` lines and always with the last."""
    looks = [row for row in rows if "test_accuracy" in row]
    step = max(1, -(-len(looks) // most))
    chosen = looks[::-1][::step][::-1]
    present = {key: text for key, text in COLUMNS.items() if any(row.get(key) is not None for row in chosen)}
    return Fitted("", present, chosen)


def beside(rows: list[Row]) -> Fitted:
    """Runs beside each other: a line per key, a column per run."""
    keys = dict.fromkeys(key for row in rows for key in row if key != "run")
    lines = [
        {"name": key, **{str(i): number(key, row.get(key)) for i, row in enumerate(rows)}} for key in keys
    ]
    return Fitted("", {"name": "run", **{str(i): row["run"] for i, row in enumerate(rows)}}, lines)


def facts(lines: Iterable[tuple[str, str]]) -> Table:
    """Names and what is to say of each, a line each."""
    shown = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    shown.add_column(style="bold", no_wrap=True)
    for name, text in lines:
        shown.add_row(Text(name), Text(text, overflow="fold"))
    return shown

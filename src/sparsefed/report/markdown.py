"""Tables as Markdown: names stand as they are, whatever Markdown would make of their letters."""

import re
from urllib.parse import quote

from sparsefed.runs.headings import decimals, heading
from sparsefed.runs.record import Row
from sparsefed.runs.tables import Table

__all__ = ["code", "grid", "image", "measured", "of_all", "plain", "table_page", "with_spread"]

SPECIAL = re.compile(r"[\\|<*`\[\]~]|&(?=#?\w+;)|(?<!\w)_|_(?!\w)")


def plain(text: str) -> str:
    """`text` with its signs escaped, on one line."""
    return SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))


def code(text: str) -> str:
    """`text` between backticks, of which it may hold some."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def image(title: str, path: str) -> str:
    """A picture; spaces, parentheses and the like in its path are percent-encoded."""
    return f"![{plain(title)}]({quote(path, safe='/.-_äöüß')})"


def grid(heads: list[str], lines: list[list[str]], texts: int, last: str = "---") -> str:
    """A table of cells that are Markdown already; numbers stand between `texts` columns and the `last`."""
    rules = ["---"] * texts + ["---:"] * (len(heads) - texts - 1) + [last]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [heads, rules, *lines])


def table_page(table: Table, lines: list[Row], environment: Row, command: str, picture: str = "") -> str:
    """A table with its picture, what failed, what it was made with and how to make it again."""
    reported = {metric for line in lines for metric in table.metrics if line[metric]["reported"] is not None}
    columns = list(table.columns) != [""]
    heads = ["", *([""] if columns else [])]
    texts = len(heads)
    for metric in table.metrics:
        name = heading(metric)
        heads += [name, *(["paper"] if metric in reported else [])]
    body = [_cells(table, line, columns, reported) for line in lines]
    parts = [
        f"# {plain(table.title)}",
        image("The metrics of the first seed", picture) if picture else "",
        table.note.strip(),
        grid([*heads, "n", "outcome"], body, texts),
        _failures(lines),
        _foot(lines, environment, command),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _cells(table: Table, line: Row, columns: bool, reported: set[str]) -> list[str]:
    cells = [plain(line["row"]), *([plain(line["column"])] if columns else [])]
    for metric in table.metrics:
        cells.append(measured(line, metric))
        cells += [plain(line[metric]["reported"] or "")] if metric in reported else []
    return [*cells, str(line["n"]), line["outcome"]]


def measured(line: Row, metric: str) -> str:
    """A metric of a line of a summary: mean and standard deviation, and of how many runs if not of all."""
    found = line[metric]
    count = sum(value is not None for value in found["values"])
    return with_spread(found["mean"], found["sd"], places=decimals(metric)) + of_all(count, line["n"])


def of_all(count: int, n: int) -> str:
    """How many of n runs are behind a mean, where these are not all."""
    return f" ({count} of {n})" if 0 < count < n else ""


def with_spread(mean: float | None, sd: float | None, sign: str = "±", places: int = 1) -> str:
    """A mean and its standard deviation to so many decimals; a dash without a mean."""
    if mean is None:
        return "–"
    return f"{mean:.{places}f}" + (f" {sign} {sd:.{places}f}" if sd is not None else "")


def _failures(lines: list[Row]) -> str:
    """What failed, with each reason once: the first cell that it stopped, and how many others."""
    by_reason: dict[str, list[str]] = {}
    for line in lines:
        for seed, why in line["failed"].items():
            column = f", column {code(line['column'])}" if line["column"] else ""
            by_reason.setdefault(why, []).append(f"row {code(line['row'])}{column}, seed {seed}")
    told = []
    for why, (first, *others) in by_reason.items():
        more = f" and {len(others)} more" if others else ""
        told.append(f"- {first}{more}: {plain(why)}")
    return "\n".join(["Failed:", "", *told]) if told else ""


def _foot(lines: list[Row], environment: Row, command: str) -> str:
    spread = max((line["n"] for line in lines), default=0) > 1
    what = "Mean ± standard deviation over n seeds. " if spread else ""
    made = ", ".join(f"{key} {value}" for key, value in environment.items())
    return f"{what}Made {f'with {plain(made)}, ' if made else ''}by {code(command)}."

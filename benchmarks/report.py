"""The newest measurement of every row as one page: `benchmarks/results/README.md`."""

import json
from collections.abc import Mapping
from typing import Any

from benchmarks.harness import RESULTS

__all__ = ["write_report"]

Line = dict[str, Any]

HEAD = """# Speed and memory

Medians of the ratios of repeats, interleaved in one process (`harness.py`). `make bench` and
`make bench-peers` measure; `python -m benchmarks report` writes this page from the newest line of each
row in the files in this folder. A goal of `≥` is a speedup over the other, a goal of `≤` a multiple of
its time or memory. Rows of `layers.py` were measured on a busy machine: their ratios hold, their times
do not.

![How cost grows](curves.png)

| what / compared with | goal | value | quartiles | reached | medians |
| --- | ---: | ---: | --- | --- | --- |
"""


def write_report(notes: Mapping[str, str]) -> None:
    """Write the page; `notes` are the reasons of the rows as they are known today."""
    newest: dict[str, Line] = {}
    for path in sorted(RESULTS.glob("*.jsonl")):
        for line in map(json.loads, path.read_text().splitlines()):
            if "median_ms" in line and "value" in line:
                newest[line["row"]] = line
    body = "".join(_cells(line, notes.get(line["row"], line["note"])) for line in newest.values())
    (RESULTS / "README.md").write_text(HEAD + body + "\n" + _made_with(list(newest.values())))


def _cells(line: Line, note: str) -> str:
    reached = {None: "", True: "yes", False: "**no**"}[line["reached"]]
    if line["reached"] is False and note:
        reached += f": {note}"
    low, high = line["quartiles"]
    medians = ", ".join(f"{name} {value:.3g}" for name, value in line["median_ms"].items())
    unit = "MB" if "memory" in line["row"] else "ms"
    cells = [
        line["title"],
        line["goal"] or "",
        f"{line['value']:.3g} {line['unit']}",
        f"{low:.3g} – {high:.3g}",
        reached,
        f"{medians} {unit}",
    ]
    return f"| {' | '.join(cells)} |\n"


def _made_with(lines: list[Line]) -> str:
    """On which machines, with what and at which commits, every combination once."""
    made = {}
    for line in lines:
        versions = ", ".join(f"{name} {version}" for name, version in line["versions"].items())
        where = (
            f"{line['processor']}, {line['cores']} cores, {line['memory_gib']} GiB, {line['gpu'] or 'no GPU'}"
        )
        key = f"{where}; {line['threads']} threads; Python {line['python']}, {versions}"
        made.setdefault(key, set()).add(f"{line['date'][:10]} at {line['commit']}")
    return "".join(f"- {key}; {', '.join(sorted(times))}\n" for key, times in made.items())

"""Run some published cells again, in a clean folder, and compare the numbers.

`python -m benchmarks.published docs/results/mnist.md` reads the command below the table, chooses three of its
lines at random, runs their cells for as many seeds as the page says, and exits with 1 where a number differs.
Seconds are not compared.
"""

import argparse
import itertools
import random
import re
import shlex
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import NamedTuple

from sparsefed.cli.items import table_of
from sparsefed.core.allocator import keep_large_blocks
from sparsefed.core.errors import SpecError
from sparsefed.report.markdown import table_page
from sparsefed.runs.cells import run_cells
from sparsefed.runs.tables import Table, summary

__all__ = ["Line", "again", "lines", "made_by", "main"]


class Line(NamedTuple):
    """One line of a published table."""

    name: tuple[str, ...]
    """Row, and column if there are any."""
    numbers: dict[str, str]
    """What stands under each head."""


def made_by(page: str) -> Table:
    """The table that a page was made from, by the first command in a line or block of its own."""
    command = r"(sparsefed (?:table|figure) .+?)"
    found = re.findall(rf"by `{command}`\.", page) or re.findall(rf"```bash\n{command}\n```", page)
    if not found:
        raise SpecError("expected a page with the command that made it, found none")
    parser = argparse.ArgumentParser()
    parser.add_argument("kind")
    parser.add_argument("what")
    parser.add_argument("--scale")
    parser.add_argument("--set", action="append", default=[])
    asked, _ = parser.parse_known_args(shlex.split(found[0])[1:])
    return table_of(asked.kind, asked.what, asked.scale, asked.set)


def lines(page: str) -> list[Line]:
    """The lines of the first table of a page."""
    table = itertools.takewhile(
        lambda text: text.startswith("|"),
        itertools.dropwhile(lambda text: not text.startswith("|"), page.splitlines()),
    )
    rows = [[_bare(cell) for cell in re.split(r"(?<!\\)\|", text)[1:-1]] for text in table]
    if not rows or "n" not in rows[0]:
        raise SpecError(
            f"expected a table of runs, with a column `n`, found {rows[0] if rows else 'no table'}"
        )
    heads, _, *body = rows
    names = sum(not head for head in heads)
    return [
        Line(tuple(cells[:names]), dict(zip(heads[names:], cells[names:], strict=True))) for cells in body
    ]


def _bare(cell: str) -> str:
    """A cell's text without its Markdown."""
    return re.sub(r"[\\`]", "", cell).strip()


def again(plan: Table, line: Line, runs: Path) -> Line:
    """The same line from runs made now, for as many seeds as it says."""
    names = [other.name for other in lines(table_page(plan, summary(plan, []), {}, ""))]
    place = list(product(plan.rows, plan.columns))[names.index(line.name)]
    seeds = plan.seeds[: int(line.numbers["n"])]
    wanted = [
        cell for cell in plan.cells() if (cell.row, cell.column) == place and cell.experiment.seed in seeds
    ]
    results = list(run_cells(wanted, runs, threads=1))
    page = table_page(plan, summary(plan, results), {}, "")
    return next(other for other in lines(page) if other.name == line.name)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--lines", type=int, default=3, help="how many lines to run again")
    parser.add_argument("--seed", type=int, help="chooses the lines; random if not given")
    asked = parser.parse_args(words)
    keep_large_blocks()
    page = asked.page.read_text()
    plan, published = made_by(page), [line for line in lines(page) if line.numbers["n"] != "0"]
    chosen = random.Random(asked.seed).sample(published, min(asked.lines, len(published)))
    differ = 0
    with tempfile.TemporaryDirectory() as folder:
        for line in chosen:
            found = again(plan, line, Path(folder))
            for head, number in line.numbers.items():
                if head.endswith(", s"):
                    continue
                same = found.numbers.get(head) == number
                differ += not same
                verdict = "the same" if same else f"found {found.numbers.get(head)}"
                print(f"{', '.join(line.name)}: {head}: published {number}, {verdict}", flush=True)
    return int(differ > 0)


if __name__ == "__main__":
    sys.exit(main())

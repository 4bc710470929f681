"""Measure the rows whose names are given, or all: `python -m benchmarks [module | row …]`.

Every row adds a JSON line to `benchmarks/results/<module>.jsonl`; `benchmarks/results/README.md` is then
written anew from the newest line of each. `python -m benchmarks report` only does the latter.
"""

import importlib
import os
import pkgutil
import sys

from rich.console import Console
from rich.table import Table

import benchmarks
from benchmarks.harness import Result, Row, Skip, append, measure
from benchmarks.machine import machine
from benchmarks.report import write_report
from sparsefed.core.allocator import keep_large_blocks

console = Console()


def suites() -> dict[str, dict[str, Row]]:
    """The rows of every module of this package that has some, by module and name."""
    names = [module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name != "__main__"]
    modules = {name: importlib.import_module(f"benchmarks.{name}") for name in names}
    return {name: module.ROWS for name, module in modules.items() if hasattr(module, "ROWS")}


def notes() -> dict[str, str]:
    """Why a row's goal is not reached, where it is known, by the row's name."""
    return {name: row.note for rows in suites().values() for name, row in rows.items()}


def main(wanted: list[str]) -> int:
    if wanted == ["report"]:
        write_report(notes())
        return 0
    chosen = [
        (suite, name, row)
        for suite, rows in suites().items()
        for name, row in rows.items()
        if not wanted or suite in wanted or name in wanted
    ]
    unknown = set(wanted) - {suite for suite, _, _ in chosen} - {name for _, name, _ in chosen}
    if unknown:
        known = ", ".join(name for suite, rows in suites().items() for name in (suite, *rows))
        console.print(f"no benchmark is called {', '.join(sorted(unknown))}; there are: {known}")
        return 2
    keep_large_blocks()
    table = Table("what / compared with", "goal", "value", "quartiles", "reached", "medians")
    for suite, name, row in chosen:
        here = machine()
        with console.status(row.title):
            try:
                result = measure(row)
            except Skip as reason:
                table.add_row(row.title, str(row.goal or ""), "–", "", "", f"skipped: {reason}")
                continue
        append(suite, name, result, here)
        table.add_row(*cells(result))
    console.print(table)
    write_report(notes())
    return 0


def cells(result: Result) -> list[str]:
    """A result as a line of the table."""
    unit = result.row.goal.unit if result.row.goal else "×"
    verdict = {None: "", True: "yes", False: f"no {result.row.note}"}[result.reached]
    medians = ", ".join(f"{name} {median:.3g} ms" for name, median in result.medians.items())
    spread = f"{result.low:.3g} – {result.high:.3g}"
    return [
        result.row.title,
        str(result.row.goal or ""),
        f"{result.value:.3g} {unit}",
        spread,
        verdict,
        medians,
    ]


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # Flower's simulation leaves threads behind that would keep this process for ever

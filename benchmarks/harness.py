"""A race: contenders run in turn in one process, and each claim is a median of ratios with a goal.

Interleaving makes a slow minute of the machine slow for everyone. Every contender runs once before the
clock starts, so neither compilation nor first touch of memory is counted.
"""

import gc
import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sparsefed.core.errors import DataError
from sparsefed.data import Data

__all__ = ["Contender", "Goal", "Result", "Row", "Skip", "append", "measure"]

RESULTS = Path(__file__).parent / "results"
Contender = Callable[[], Any]


class Skip(Exception):  # noqa: N818
    """A row cannot be measured here; the message says why, and what would help."""


def needs(data: Data) -> None:
    """Skip the row where the data are missing."""
    try:
        data.load()
    except DataError as missing:
        raise Skip(str(missing)) from None


@dataclass(frozen=True)
class Goal:
    """What is to be reached."""

    sign: Literal["≤", "≥"]
    value: float
    unit: Literal["×", "ms", "MB"] = "×"

    def reached(self, value: float) -> bool:
        return value <= self.value if self.sign == "≤" else value >= self.value

    def __str__(self) -> str:
        return f"{self.sign} {self.value:g} {self.unit}"


@dataclass(frozen=True)
class Row:
    """One line of the table: what is divided by what, and the goal of the quotient.

    `prepare` gives the contenders by name, the measured one first and the one it is compared with second
    (if there are more, the best of them counts); alone, its time in ms is the value. With a goal of `≥`
    the value is the others' time divided by ours: how many times faster we are.
    """

    title: str
    goal: Goal | None
    prepare: Callable[[], Mapping[str, Contender]]
    seconds: float = 20.0
    """About how long to go on measuring; every contender runs at least three times."""
    note: str = ""
    """Why the goal is not reached, where it is known."""


@dataclass(frozen=True)
class Result:
    """What a row measured: medians and minima in ms by contender, and the value with its quartiles."""

    row: Row
    medians: dict[str, float]
    best: dict[str, float]
    """The fastest run of each, which other people's work on the machine disturbs least."""
    value: float
    low: float
    high: float
    repeats: int

    @property
    def reached(self) -> bool | None:
        return None if self.row.goal is None else self.row.goal.reached(self.value)


def measure(row: Row) -> Result:
    """Run the contenders of a row in turn until the row's time is up."""
    contenders = row.prepare()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for run in contenders.values():
        run()
    gc.collect()
    end = time.perf_counter() + row.seconds
    while len(next(iter(times.values()))) < 3 or time.perf_counter() < end:
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            times[name].append(1e3 * (time.perf_counter() - start))
    return _result(row, times)


def _result(row: Row, times: dict[str, list[float]]) -> Result:
    medians = {name: statistics.median(values) for name, values in times.items()}
    ours, *others = times
    if not others:
        values = times[ours]
    else:
        rival = times[min(others, key=lambda name: medians[name])]
        faster = row.goal is not None and row.goal.sign == "≥"
        values = [b / a if faster else a / b for a, b in zip(times[ours], rival, strict=True)]
    low, value, high = statistics.quantiles(values, n=4)
    best = {name: min(values) for name, values in times.items()}
    return Result(row, medians, best, value, low, high, len(values))


def append(suite: str, name: str, result: Result, machine: Mapping[str, Any]) -> None:
    """One JSON line in `benchmarks/results/<suite>.jsonl`, with everything needed to judge it."""
    goal = result.row.goal
    line = {
        "row": name,
        "title": result.row.title,
        "value": round(result.value, 4),
        "quartiles": [round(result.low, 4), round(result.high, 4)],
        "unit": goal.unit if goal else "×",
        "goal": str(goal) if goal else None,
        "reached": result.reached,
        "note": result.row.note,
        "median_ms": {name: round(median, 4) for name, median in result.medians.items()},
        "best_ms": {name: round(best, 4) for name, best in result.best.items()},
        "repeats": result.repeats,
        **machine,
    }
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{suite}.jsonl").open("a") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")

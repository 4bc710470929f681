"""What is seen while a run is under way, on the error output."""

import time
from collections.abc import Generator, Iterator
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from sparsefed.report.terminal import number

__all__ = ["counted", "followed", "watched"]

T = TypeVar("T")
Row = dict[str, Any]


def watched(name: str, rounds: int, rows: Generator[Row, None, Row]) -> Row:
    """Exhaust `rows` with a progress line on the error output; quiet where that is not a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[look]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=rounds, speed="", look="")
        return _followed(rows, progress, task)


def counted(name: str, total: int, items: Iterator[T]) -> Iterator[T]:
    """`items` as they come, with a progress line on the error output; quiet where that is not a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield from progress.track(items, total, description=name)


def followed(name: str, steps: Generator[Any, None, T]) -> T:
    """Exhaust `steps`, which have a `share` from 0 to 1 and say `what`, and return their value.

    A progress line on the error output; one line a step where that is not a terminal.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:.0f} %"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[what]}", markup=False),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=1.0, what="")
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                return end.value
            progress.update(task, completed=step.share, what=step.what)
            if not console.is_terminal:
                console.print(f"{name}: {100 * step.share:.0f} % {step.what}", markup=False, soft_wrap=True)


def _followed(rows: Generator[Row, None, Row], progress: Progress, task: TaskID) -> Row:
    started, done = time.monotonic(), 0
    while True:
        try:
            row = next(rows)
        except StopIteration as end:
            return end.value
        done += 1
        speed = f"{done / max(time.monotonic() - started, 1e-9):.1f} rounds/s"
        progress.update(task, completed=row["round"], speed=speed)
        if "test_accuracy" in row:
            attack = row["attack_accuracy"]
            look = f"test {number(row['test_accuracy'])} %"
            progress.update(task, look=look + (f", attack {number(attack)} %" if attack is not None else ""))

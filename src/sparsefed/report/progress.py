"""What is seen while runs are under way, on the error output: bars in a terminal, else lines."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from threading import Event, Thread
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from sparsefed.core.text import amount
from sparsefed.report.terminal import number
from sparsefed.runs.record import Outcome

__all__ = ["SECONDS_BETWEEN_LINES", "counted", "followed", "trained", "watched"]

SECONDS_BETWEEN_LINES = 60.0
"""How often a line is printed where the error output is no terminal."""
BESIDE = 54
"""Columns of a terminal that the rest of a line takes beside a run's name."""

T = TypeVar("T")
Row = dict[str, Any]


def watched(name: str, rounds: int, rows: Generator[Row, None, Row], brief: str = "") -> Row:
    """Exhaust `rows`, showing the round, the last accuracies and the time left; `brief` stands by a bar."""
    console = Console(stderr=True)
    pace = _Pace()
    if not console.is_terminal:
        with _every_minute(console, lambda: f"{name}: {pace.line(rounds, 'round')}{pace.look}"):
            return _followed(rows, pace)
    shown = Text(brief or name)
    shown.truncate(max(12, console.width - BESIDE), overflow="ellipsis")
    with _bar(console, TextColumn("{task.fields[look]}", markup=False)) as progress:
        task = progress.add_task(shown.plain, total=rounds, look="")
        return _followed(rows, pace, lambda: progress.update(task, completed=pace.done, look=pace.look[2:]))


def counted(
    total: int,
    ended: Iterator[tuple[T, Outcome]],
    name: Callable[[T], str],
    shown: bool = True,
    known: Callable[[T], bool] = lambda _: False,
) -> Iterator[tuple[T, Outcome]]:
    """Runs as they end, with how many of `total` have: a bar where it is `shown`, or a line for each.

    No line for what was `known` before. Where each run is watched by itself, nothing is `shown` besides.
    """
    console = Console(stderr=True)
    if console.is_terminal:
        if not shown:
            yield from ended
            return
        with _bar(console) as progress:
            yield from progress.track(ended, total, description="runs")
        return
    pace = _Pace()
    with _every_minute(console, lambda: pace.line(total, "run")) if shown else nullcontext():
        for what, end in ended:
            pace.at(pace.done + 1)
            news = f"{end['outcome']}{_accuracies(end)}" if isinstance(end, dict) else f"failed: {end}"
            if not known(what):
                _say(console, f"{pace.line(total, 'run')}: {name(what)}: {news}")
            yield what, end


def followed(name: str, steps: Generator[Any, None, T]) -> T:
    """Exhaust `steps`, which have a `share` from 0 to 1 and say `what`, and return their value.

    One line a step where the error output is no terminal.
    """
    console = Console(stderr=True)
    with _bar(console, TextColumn("{task.fields[what]}", markup=False)) as progress:
        task = progress.add_task(name, total=1.0, what="")
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                return end.value
            progress.update(task, completed=step.share, what=step.what)
            if not console.is_terminal:
                _say(console, f"{name}: {100 * step.share:.0f} % {step.what}")


class _Pace:
    """How far something is, since when."""

    def __init__(self) -> None:
        self.started, self.first, self.done, self.look = time.monotonic(), 0, 0, ""

    def at(self, done: int) -> None:
        """So much is done; what was done before we began has taken no time."""
        self.first = self.first or done - 1
        self.done = done

    def line(self, total: int, what: str) -> str:
        ours = self.done - self.first
        if not ours:
            return f"{what} {self.done} of {total}"
        left = (time.monotonic() - self.started) / ours * (total - self.done)
        return f"{what} {self.done} of {total}, {timedelta(seconds=round(left))} left"


def _followed(rows: Generator[Row, None, Row], pace: _Pace, show: Callable[[], object] = lambda: None) -> Row:
    while True:
        try:
            row = next(rows)
        except StopIteration as end:
            return end.value
        pace.at(row["round"])
        pace.look = _accuracies(row) or pace.look
        show()


def _accuracies(row: Row) -> str:
    known = {"test": "test_accuracy", "attack": "attack_accuracy"}
    return "".join(
        f", {text} {number(key, row[key])} %" for text, key in known.items() if row.get(key) is not None
    )


def _bar(console: Console, *more: TextColumn) -> Progress:
    """Names stand as they are: their brackets are no markup."""
    name = TextColumn("{task.description}", markup=False)
    columns = (name, BarColumn(bar_width=8), _Done(), TimeRemainingColumn(compact=True), *more)
    return Progress(*columns, console=console, disable=not console.is_terminal)


def trained(steps: Generator[tuple[str, int, int], None, T]) -> T:
    """Exhaust `steps` of a name, models done and all of them, showing a bar, or a line every minute."""
    console = Console(stderr=True)
    now = ["no model trained yet"]
    with _every_minute(console, lambda: now[0]) if not console.is_terminal else _bar(console) as progress:
        tasks: dict[str, Any] = {}
        while True:
            try:
                name, done, total = next(steps)
            except StopIteration as end:
                return end.value
            now[0] = f"{name}: {done} of {amount(total, 'model')}"
            if isinstance(progress, Progress):
                tasks.setdefault(name, progress.add_task(name, total=total) if name not in tasks else None)
                progress.update(tasks[name], completed=done, total=total)


class _Done(MofNCompleteColumn):
    """Counts as "3/18", shares as "25 %"."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.percentage:3.0f} %") if task.total == 1 else super().render(task)


@contextmanager
def _every_minute(console: Console, line: Callable[[], str]) -> Iterator[None]:
    """Inside, a line is printed every minute, also while nothing comes."""
    over = Event()

    def lines() -> None:
        while not over.wait(SECONDS_BETWEEN_LINES):
            _say(console, line())

    thread = Thread(target=lines, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _say(console: Console, line: str) -> None:
    print(" ".join(line.split()), file=console.file, flush=True)

"""Several runs in parallel, each in its own process; any of them can be stopped and resumed."""

import os
import signal
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from multiprocessing import active_children, get_context
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path

from sparsefed.core.allocator import keep_large_blocks
from sparsefed.core.errors import CrashError, SparseFedError, located
from sparsefed.core.interrupts import interruptible, postponed
from sparsefed.core.places import beside, look_beside
from sparsefed.federation.experiment import Experiment
from sparsefed.runs.record import Outcome, Row
from sparsefed.runs.simulate import simulate

__all__ = ["Named", "attempted", "side_by_side"]


Named = tuple[str, Experiment]


def side_by_side(
    experiments: Iterable[Named], runs: Path, jobs: int, threads: int | None = None, fresh: bool = False
) -> Generator[tuple[str, Outcome], None, None]:
    """Run different experiments, `jobs` at a time with `threads` threads each; yields name and outcome.

    If `threads` is not given, each takes what `simulate` takes, of its share of the cores.

    A run that fails does not stop the others, not even by taking its process with it. When the caller stops
    listening, all runs save and stop.
    """
    queue = iter(experiments)
    work = partial(_pooled, runs=runs, threads=threads, fresh=fresh)
    while suspects := (yield from work(queue, jobs=jobs)):
        for suspect in suspects:  # one of them took the pool with it: which, each shows by itself
            if (yield from work(iter([suspect]), jobs=1)):
                why = "its process was killed, perhaps for lack of memory; the same command resumes it"
                yield suspect[0], CrashError(why)


def _pooled(
    queue: Iterator[Named], runs: Path, jobs: int, threads: int | None, fresh: bool
) -> Generator[tuple[str, Outcome], None, list[Named]]:
    """Work through `queue` in one pool of processes; returns what was under way when it broke."""
    under_way: dict[str, Experiment] = {}
    busy: dict[Future[Outcome], str] = {}
    context = get_context("spawn")  # a fork would inherit the threads of compiled kernels
    others, stopping = active_children(), context.Event()
    told = (jobs, stopping, beside())
    with ProcessPoolExecutor(jobs, context, initializer=_prepare, initargs=told) as pool:
        try:
            while True:
                for name, experiment in queue:
                    under_way[name] = experiment
                    with postponed(signal.SIGINT):  # Ctrl-C reaches every process of a terminal
                        busy[pool.submit(_run, experiment, runs, fresh, threads)] = name
                    if len(busy) == jobs:
                        break
                if not busy:
                    return []
                for done in wait(busy, return_when=FIRST_COMPLETED).done:
                    name = busy.pop(done)
                    outcome = done.result()
                    del under_way[name]
                    yield name, outcome
        except BrokenProcessPool:
            return list(under_way.items())
        finally:
            stopping.set()
            _interrupt([child for child in active_children() if child not in others])


def attempted(run: Callable[[], Row]) -> Outcome:
    """The result of a run, or why it has none."""
    try:
        return run()
    except SparseFedError as problem:
        return problem
    except Exception as problem:  # in code of the user's own, most likely: the other runs go on
        return CrashError(located(problem))


class _Worker:
    """What a process of the pool knows."""

    stopping: Event
    """Set once no run may begin any more."""


def _prepare(jobs: int, stopping: Event, file: Path | None) -> None:
    """In a new process: it is the parent who tells us to stop, by SIGTERM."""
    import torch

    # A process that waits for work must not die of a signal: it would take the queue's lock with it.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _Worker.stopping = stopping
    look_beside(file)
    keep_large_blocks()
    torch.set_num_threads(max(1, torch.get_num_threads() // jobs))


def _run(experiment: Experiment, runs: Path, fresh: bool, threads: int | None) -> Outcome:
    """`simulate`, which a SIGTERM interrupts."""
    with interruptible(signal.SIGTERM):
        if _Worker.stopping.is_set():
            raise KeyboardInterrupt
        return attempted(partial(simulate, experiment, runs, fresh, threads))


def _interrupt(children: list[BaseProcess]) -> None:
    for child in children:
        if child.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGTERM)

"""Several runs side by side, each in a process of its own; any of them can be stopped and goes on later."""

import os
import signal
from collections.abc import Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import active_children, get_context
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path

from sparsefed.core.allocator import keep_large_blocks
from sparsefed.core.errors import RunError, named
from sparsefed.core.interrupts import interruptible, postponed
from sparsefed.federation.experiment import Experiment
from sparsefed.runs.record import Row
from sparsefed.runs.simulate import simulate

__all__ = ["side_by_side"]


def side_by_side(
    experiments: Iterable[tuple[str, Experiment]], runs: Path, jobs: int, threads: int
) -> Generator[tuple[str, Row], None, None]:
    """Run different experiments, `jobs` at a time with `threads` threads each; yields name and result.

    When one fails, or the caller stops listening, the others save and stop, and the error is raised here,
    with the name in front.
    """
    queue = iter(experiments)
    busy: dict[Future[Row], str] = {}
    context = get_context("spawn")  # a fork would inherit the threads of compiled kernels
    others, stopping = active_children(), context.Event()
    with ProcessPoolExecutor(jobs, context, initializer=_prepare, initargs=(threads, stopping)) as pool:
        try:
            while True:
                for name, experiment in queue:
                    with postponed(signal.SIGINT):  # Ctrl-C reaches every process of a terminal
                        busy[pool.submit(_run, experiment, runs)] = name
                    if len(busy) == jobs:
                        break
                if not busy:
                    return
                for done in wait(busy, return_when=FIRST_COMPLETED).done:
                    name = busy.pop(done)
                    with named(name):
                        result = done.result()
                    yield name, result
        except BrokenProcessPool:
            problem = "a run's process was killed, for lack of memory perhaps"
            raise RunError(f"{problem}; the same command goes on, and fewer jobs need less") from None
        finally:
            stopping.set()
            _interrupt([child for child in active_children() if child not in others])


class _Worker:
    """What a process of the pool knows."""

    stopping: Event
    """Set once no run may begin any more."""


def _prepare(threads: int, stopping: Event) -> None:
    """In a new process: it is the parent who tells us to stop, by SIGTERM."""
    import torch

    # A process that waits for work must not die of a signal: it would take the queue's lock with it.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _Worker.stopping = stopping
    keep_large_blocks()
    torch.set_num_threads(threads)


def _run(experiment: Experiment, runs: Path) -> Row:
    """`simulate`, which a SIGTERM interrupts."""
    with interruptible(signal.SIGTERM):
        if _Worker.stopping.is_set():
            raise KeyboardInterrupt
        return simulate(experiment, runs)


def _interrupt(children: list[BaseProcess]) -> None:
    for child in children:
        if child.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGTERM)

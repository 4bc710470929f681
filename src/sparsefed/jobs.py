"""Several runs side by side, each in a process of its own; any of them can be stopped and goes on later."""

import os
import signal
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import suppress
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any, NoReturn

from sparsefed.allocator import keep_large_blocks
from sparsefed.experiment import Experiment
from sparsefed.record import Row
from sparsefed.simulate import simulate

__all__ = ["side_by_side"]


def side_by_side(
    experiments: Iterable[Experiment], runs: Path, jobs: int, threads: int
) -> Iterator[tuple[int, Row]]:
    """Run all experiments, `jobs` at a time with `threads` threads each; yields place and result as they end.

    When one fails, or the caller stops listening, the others save and stop, and the error is raised here.
    """
    queue = enumerate(experiments)
    busy: dict[Future[Row], int] = {}
    context = get_context("spawn")  # a fork would inherit the threads of compiled kernels
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_prepare, initargs=(threads,)) as pool:
        try:
            while True:
                # No more than can run at once: a process that is told to stop must find nothing waiting.
                for place, experiment in queue:
                    busy[pool.submit(_run, experiment, runs)] = place
                    if len(busy) == jobs:
                        break
                if not busy:
                    return
                for done in wait(busy, return_when=FIRST_COMPLETED).done:
                    yield busy.pop(done), done.result()
        finally:
            if busy:
                _stop_all()


def _prepare(threads: int) -> None:
    """In a new process: Ctrl-C reaches every process of a terminal, but it is the parent who tells us."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_large_blocks()
    torch.set_num_threads(threads)


def _run(experiment: Experiment, runs: Path) -> Row:
    """`simulate`, which a SIGTERM interrupts once: a second one must not disturb the saving."""

    def stop(*_: Any) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        return simulate(experiment, runs)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _stop_all() -> None:
    for child in active_children():
        if child.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGTERM)

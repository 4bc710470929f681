"""A contender in a process of its own, for settings that hold for a whole process: the allocator's."""

import multiprocessing
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection

from benchmarks.harness import Contender

__all__ = ["elsewhere"]


def elsewhere(prepare: Callable[[], Contender]) -> Contender:
    """The contender that `prepare` makes over there; a call costs a tenth of a millisecond more."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    context.Process(target=_serve, args=(prepare, there), daemon=True).start()

    def run() -> None:
        here.send(None)
        here.recv()

    return run


def _serve(prepare: Callable[[], Contender], orders: Connection) -> None:
    run = prepare()
    with suppress(EOFError):  # the other side is gone
        while True:
            orders.recv()
            run()
            orders.send(None)

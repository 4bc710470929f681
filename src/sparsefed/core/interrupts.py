"""Signals that end a computation once, and leave it the time to save."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

__all__ = ["interruptible", "postponed"]


@contextmanager
def interruptible(*numbers: signal.Signals) -> Iterator[None]:
    """Inside, the first of these signals raises KeyboardInterrupt; the next must not disturb the saving."""

    def stop(*_: Any) -> NoReturn:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def postponed(number: signal.Signals) -> Iterator[None]:
    """Inside, the signal waits; a process started here never sees it, not even while it starts."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

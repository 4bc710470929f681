"""Flower's grid, but one malformed or missing reply costs its own node the round, and nobody else."""

# pyright: reportMissingImports=false
# Flower is installed in an environment of its own (make test-deploy).

import time
from collections.abc import Iterable
from logging import WARNING
from typing import Any

import httpx  # pyright: ignore[reportMissingImports]
from flwr.app import Message
from flwr.serverapp import Grid
from flwr.supercore import log

__all__ = ["HardenedGrid"]


class HardenedGrid:
    """A grid whose `send_and_receive` raises nothing that a node can cause.

    Flower takes all waiting replies off the SuperLink together, so one that cannot be unpacked loses the
    others. Here each is asked for by itself: a request per second for every node that has not answered yet.
    """

    def __init__(self, grid: Grid, pause: float = 1.0) -> None:
        self.grid, self.pause = grid, pause

    def __getattr__(self, name: str) -> Any:
        return getattr(self.grid, name)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """The replies that have come within `timeout` seconds; those that cannot be read are left out."""
        waiting = [identity for identity in self.grid.push_messages(list(messages)) if identity]
        end = float("inf") if timeout is None else time.monotonic() + timeout
        replies = list[Message]()
        while True:
            waiting = [identity for identity in waiting if not self._answered(identity, replies)]
            if not waiting or time.monotonic() >= end:
                return replies
            time.sleep(self.pause)

    def _answered(self, identity: str, replies: list[Message]) -> bool:
        """Whether there is nothing left to wait for; adds the reply, if it can be read, to `replies`."""
        try:
            found = list(self.grid.pull_messages([identity]))
        except httpx.HTTPError as problem:  # the way to the SuperLink is broken: no node's fault
            log(WARNING, "the SuperLink cannot be reached: %s", problem)
            return False
        except Exception as problem:
            log(WARNING, "the reply to %s cannot be read, and is left out: %s", identity, problem)
            return True
        replies += found
        return bool(found)

"""How much a search may cost: runs, or time; and the fewest runs that it can do anything with."""

import math
import re
from collections.abc import Iterable
from itertools import count
from typing import NamedTuple

from sparsefed.core.errors import SpecError
from sparsefed.core.text import amount, plural

__all__ = ["SEARCHED", "Budget", "least"]

SEARCHED = 0.6
"""The share of a frontier's budget that is spent on searching; the rest goes to the report."""

_SECONDS = {"s": 1, "m": 60, "h": 3600}


class Budget(NamedTuple):
    """A limit on the work of a search, over all its restarts."""

    runs: float
    """How many runs; infinite if time decides."""
    seconds: float
    """How many seconds of running, added up over the processes; infinite if runs decide."""

    @classmethod
    def of(cls, text: str) -> "Budget":
        """`3m`, `90s`, `1.5h`, or `200` for so many runs."""
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|m|h|runs?|)\s*", text)
        if match is None or float(match[1]) == 0:
            raise SpecError(f"budget: expected a time such as 3m or 1h, or a number of runs, found {text!r}")
        number, unit = float(match[1]), match[2]
        inf = float("inf")
        return cls(inf, number * _SECONDS[unit]) if unit in _SECONDS else cls(number, inf)

    @classmethod
    def total(cls, parts: Iterable[tuple[float, float]]) -> "Budget":
        """The sum of several runs and seconds."""
        runs, seconds = zip(*parts, strict=True)
        return cls(sum(runs), sum(seconds))

    def __str__(self) -> str:
        return f"{self.seconds:g} s" if math.isinf(self.runs) else f"{self.runs:g} {plural(self.runs, 'run')}"

    def require(self, runs: int, why: str) -> None:
        """Raises `SpecError` with the number to ask for where these are fewer runs; a time is let through."""
        if self.runs < runs:
            raise SpecError(f"budget: expected at least {amount(runs, 'run')} ({why}), found {self}")

    def part(self, share: float) -> "Budget":
        """A share of it."""
        return Budget(self.runs * share, self.seconds * share)

    def left(self, spent: "Budget") -> float:
        """The share that is left, from 1 down to 0."""
        used = max(spent.runs / self.runs, spent.seconds / self.seconds)
        return max(0.0, 1.0 - used)


def least(setting: int) -> int:
    """The fewest runs with which a frontier can search one setting, of so many runs, and report it."""
    parts = ((runs, math.floor(SEARCHED * runs)) for runs in count(2 * setting))
    return next(runs for runs, part in parts if part >= setting and runs - part >= setting)

"""How much a search may cost: runs, or time."""

import math
import re
from typing import NamedTuple

from sparsefed.core.errors import SpecError
from sparsefed.core.text import plural

__all__ = ["Budget"]

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
        amount, unit = float(match[1]), match[2]
        inf = float("inf")
        return cls(inf, amount * _SECONDS[unit]) if unit in _SECONDS else cls(amount, inf)

    def __str__(self) -> str:
        return f"{self.seconds:g} s" if math.isinf(self.runs) else f"{self.runs:g} {plural(self.runs, 'run')}"

    def part(self, share: float) -> "Budget":
        """A share of it."""
        return Budget(self.runs * share, self.seconds * share)

    def left(self, spent: "Budget") -> float:
        """The share that is left, from 1 down to 0."""
        used = max(spent.runs / self.runs, spent.seconds / self.seconds)
        return max(0.0, 1.0 - used)

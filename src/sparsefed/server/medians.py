"""What nodes report about themselves, as numbers that no minority decides."""

import math
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

__all__ = ["medians"]


def medians(reported: Iterable[Mapping[str, Any]], asked: int) -> dict[str, float]:
    """The median over the nodes of every finite number that more than half of the `asked` have sent.

    No weights: a node that reports its own example count would decide its own influence. A minority moves a
    median only among what the others have sent, and adds no key.
    """
    values: dict[str, list[float]] = {}
    for numbers in reported:
        for name, value in numbers.items():
            if isinstance(name, str) and isinstance(value, int | float) and _finite(value):
                values.setdefault(name, []).append(float(value))
    return {name: median(sent) for name, sent in values.items() if 2 * len(sent) > asked}


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False

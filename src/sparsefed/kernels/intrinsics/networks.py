"""Sorting networks (Batcher's odd-even merge sort, 1968), cut down to what an order statistic needs.

A network is a fixed list of comparators (a, b): whatever the data, the smaller number goes to wire a and
the larger to wire b. The same list sorts every column of a matrix, so one instruction serves many columns.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

__all__ = ["GROUP", "batcher", "network"]

GROUP = 8
"""How many neighboring wires `sparsefed.kernels.intrinsics.rows.load_sorted` sorts in registers."""


@lru_cache(maxsize=64)
def network(wires: int, low: int, high: int, ordered: bool, group: int = 1) -> np.ndarray:
    """Comparators, `[count, 2]`, after which wires low … high − 1 hold the values of those ranks.

    If not `ordered`, only the set of values on those wires is right: enough for their sum. Every full
    group of `group` wires, a power of two, must come sorted.
    """
    wanted = range(low, high)
    use = [("set" if wire in wanted else "none") for wire in range(wires)]
    if ordered:
        use = ["value" if wire in wanted else "none" for wire in range(wires)]
    kept = []
    for a, b in reversed([*_of_ragged_group(wires, group), *batcher(wires, group)]):
        if use[a] == use[b] and use[a] != "value":
            continue  # nobody sees which of the two went where
        use[a] = use[b] = "value"
        kept.append((a, b))
    comparators = np.array(kept[::-1], dtype=np.int64).reshape(-1, 2)
    comparators.setflags(write=False)
    return comparators


def _of_ragged_group(wires: int, group: int) -> Iterator[tuple[int, int]]:
    """Sorts the last wires, which do not fill a group."""
    first = wires // group * group
    return ((first + a, first + b) for a, b in batcher(wires - first))


def batcher(wires: int, sorted_run: int = 1) -> Iterator[tuple[int, int]]:
    """Batcher's network for the next power of two, without the wires above, which would hold infinity.

    Runs of `sorted_run` wires, a power of two, come sorted.
    """
    while sorted_run < wires:
        step = sorted_run
        while step >= 1:
            for first in range(step % sorted_run, wires - step, 2 * step):
                for a in range(first, min(first + step, wires - step)):
                    if a // (2 * sorted_run) == (a + step) // (2 * sorted_run):
                        yield a, a + step
            step //= 2
        sorted_run *= 2

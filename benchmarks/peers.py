"""Robust rules against byzfl's, on the same matrix: the faster of its two backends counts."""

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.harness import Contender, Goal, Row, Skip
from benchmarks.kernels import CLIENTS, RESNET9, F, vector
from sparsefed.defenses import Krum, Median, TrimmedMean
from sparsefed.protocol.dense import dense


@lru_cache
def byzfl() -> Any:
    """byzfl's aggregators, without its `__init__`, which imports torchvision for other parts of it."""
    found = importlib.util.find_spec("byzfl")
    if found is None or found.origin is None:
        raise Skip("needs byzfl 0.0.11: make bench-peers")
    root = Path(found.origin).parent
    for name in ("byzfl", "byzfl.aggregators", "byzfl.utils"):
        package = sys.modules.setdefault(name, ModuleType(name))
        package.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
    return importlib.import_module("byzfl.aggregators.aggregators")


def race(rule: TrimmedMean | Median | Krum, peer: str, **options: int) -> Mapping[str, Contender]:
    theirs = getattr(byzfl(), peer)(**options)
    matrix = vector(RESNET9, CLIENTS)
    array = matrix.numpy()
    return {
        "sparsefed": lambda: rule.aggregate(dense(matrix)),
        "byzfl torch": lambda: theirs(matrix),
        "byzfl numpy": lambda: theirs(array),
    }


def title(rule: str) -> str:
    return f"{rule}, n = {CLIENTS}, d = 6.57 M: times faster than byzfl"


FAST_SORT = (
    "stands on NumPy's own AVX-512 sort and selection, and ours is bound by arithmetic at 6 read passes"
)
ROWS = {
    "byzfl_trimmed_mean": Row(
        title("trimmed mean"),
        Goal("≥", 30),
        lambda: race(TrimmedMean(f=F), "TrMean", f=F),
        note=f"its NumPy backend {FAST_SORT}",
    ),
    "byzfl_median": Row(
        title("median"),
        Goal("≥", 30),
        lambda: race(Median(), "Median"),
        note=f"its NumPy backend {FAST_SORT}",
    ),
    "byzfl_krum": Row(
        title("Krum"),
        Goal("≥", 15),
        lambda: race(Krum(f=F), "Krum", f=F),
        note="ours sums differences, so that copies are at distance 0; that arithmetic is half of its time",
    ),
}

"""The updates of another source, each multiplied by the same number."""

import math

from sparsefed.core.types import Matrix, PerClient, Vector
from sparsefed.protocol.lazy import Source

__all__ = ["Scaled"]


class Scaled:
    """u = γ v, with v from `source` and γ = `factor`."""

    def __init__(self, source: Source, factor: float) -> None:
        self.source, self.factor = source, factor
        self.count, self.size = source.count, source.size

    def reduce(self, clip_norm: float) -> tuple[PerClient, Vector]:
        size = abs(self.factor)
        norms, total = self.source.reduce(clip_norm / size if size else math.inf)
        return norms.mul_(size), total.mul_(self.factor)

    def rows(self) -> Matrix:
        return self.source.rows().mul_(self.factor)

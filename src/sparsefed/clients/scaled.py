"""The updates of another source, each multiplied by the same number."""

import math

from sparsefed.core.types import Matrix, PerClient, Vector
from sparsefed.protocol.lazy import Source

__all__ = ["Scaled"]


class Scaled:
    """u = γ v, with v from `source` and γ = `factor`, at least 0."""

    def __init__(self, source: Source, factor: float) -> None:
        self.source, self.factor = source, factor
        self.count, self.size = source.count, source.size

    def reduce(self, clip_norm: float) -> tuple[PerClient, Vector]:
        norms, total = self.source.reduce(clip_norm / self.factor if self.factor else math.inf)
        return norms * self.factor, total * self.factor

    def rows(self) -> Matrix:
        return self.source.rows() * self.factor

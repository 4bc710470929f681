"""Updates of which only a sum is seen, in fixed point, as two servers of `sparsefed.secagg` add them up."""

import math
import secrets
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, NoReturn, TypeAlias

import numpy as np
import torch
from torch import Tensor

from sparsefed.core.errors import RunError, UpdateError
from sparsefed.core.types import Vector
from sparsefed.protocol.aside import Aside
from sparsefed.protocol.updates import Dense, Updates
from sparsefed.secagg import FixedPoint, Parameters, Pine
from sparsefed.secagg.field import add, centered

__all__ = ["Released", "Sealed", "SumOnly", "Summed", "fixed_point_sum", "verified_sum"]

Summed: TypeAlias = Callable[[FixedPoint, Iterable[np.ndarray]], np.ndarray]
"""How encoded vectors are added up: exactly, int64."""


class SumOnly(Updates):
    """What a server knows of a round under secure aggregation: how many updates, and one sum of them.

    Everything else raises `UpdateError`.
    """

    def _refuse(self, what: str) -> NoReturn:
        raise UpdateError(
            f"expected a rule of the sum alone under secure aggregation, found one asking for {what}"
        )

    def norms(self) -> NoReturn:
        self._refuse("norms")

    def admitted(self, clip_norm: float = math.inf) -> NoReturn:
        self._refuse("another clip")

    def as_dense(self) -> Dense:
        self._refuse("single updates")

    def rows(self) -> NoReturn:
        self._refuse("single updates")

    def weighted_sum(self, weights: Any) -> NoReturn:
        self._refuse("a weighted sum")

    def gram(self) -> NoReturn:
        self._refuse("inner products of updates")

    def squared_distances(self) -> NoReturn:
        self._refuse("distances of updates")


class Sealed(SumOnly):
    """Updates that are at hand, and of which the rule is shown their sum alone.

    Clients send updates, or what a linear function makes of them (`mean_of`); only one of the two can be
    asked for.
    """

    def __init__(self, updates: Updates, clip_norm: float, bits: int, summed: Summed) -> None:
        self.count, self.size = updates.count, updates.size
        self.aside = Aside(cohort=updates.aside.cohort)
        self._updates, self._clip_norm, self._bits, self._summed = updates, clip_norm, bits, summed
        self._released: Any = None

    @cached_property
    def _sum(self) -> Vector:
        return self._total(lambda row: row, 1.0)

    def sum(self) -> Vector:
        return self._sum

    def mean_of(self, linear: Callable[[Vector], Tensor], growth: float) -> Tensor:
        return self._total(linear, growth) / self.count

    def _total(self, linear: Callable[[Vector], Tensor], growth: float) -> Tensor:
        if self._released is not None:
            raise UpdateError(
                "expected one sum per round under secure aggregation, found a rule asking for two"
            )
        self._released = growth
        code = FixedPoint(growth * self._clip_norm, self._bits)
        rows = self._updates.as_dense().rows()
        like = linear(rows[0])
        encoded = (code.encode(linear(row).detach().cpu().numpy().ravel()) for row in rows)
        total = code.decode(self._summed(code, encoded))
        return torch.from_numpy(total).to(like).reshape(like.shape)


class Released(SumOnly):
    """The sum that two servers have released."""

    def __init__(self, total: Vector, count: int) -> None:
        self.count, self.size, self._sum = count, len(total), total

    def sum(self) -> Vector:
        return self._sum


def fixed_point_sum(code: FixedPoint, vectors: Iterable[np.ndarray]) -> np.ndarray:
    """The sum of integers."""
    return np.sum(list(vectors), axis=0)


def verified_sum(code: FixedPoint, vectors: Iterable[np.ndarray]) -> np.ndarray:
    """The sum by the protocol itself: every vector is proven, split, checked by both servers and added up."""
    plain = list(vectors)
    pine, key = Pine(Parameters(dimension=len(plain[0]), bound=code.bound)), secrets.token_bytes(32)
    totals = [np.zeros(len(plain[0]), np.uint64) for _ in range(2)]
    for vector in plain:
        nonce = secrets.token_bytes(16)
        report = pine.shard(vector, nonce)
        prepared = [pine.prepare(key, i, nonce, report.public, report.shares[i]) for i in range(2)]
        messages = prepared[0].message, prepared[1].message
        totals = [
            add(total, pine.merge(mine, messages)) for total, mine in zip(totals, prepared, strict=True)
        ]
    total = centered(add(*totals))
    if not np.array_equal(total, np.sum(plain, axis=0)):
        raise RunError("expected the protocol's sum to be that of the integers, found another")
    return total

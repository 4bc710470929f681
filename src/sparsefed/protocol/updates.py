"""What a defense may ask about the updates of a round, however they are stored or computed.

A defense asks only for what it needs (a mean, norms, inner products, rows), so that the
`[clients, params]` matrix exists only for rules that truly compare clients coordinate by coordinate.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsefed.core.errors import UpdateError
from sparsefed.core.text import amount, one_line
from sparsefed.core.types import Matrix, PerClient, Vector
from sparsefed.kernels import all_finite, gram, row_norms, squared_distances, weighted_sum, with_norm
from sparsefed.protocol.aside import NOTHING, Aside
from sparsefed.protocol.claims import read_weights
from sparsefed.protocol.clips import Clip
from sparsefed.protocol.report import ClientReport, Roll

__all__ = ["Dense", "Updates", "check_clip", "clip_factors", "shares_of"]


def clip_factors(norms: PerClient, clip_norm: float) -> PerClient:
    """min(1, L / ‖u‖) for each client, and 0 where the norm is not finite (the update is dropped)."""
    factors = torch.where(norms > clip_norm, clip_norm / norms, 1.0)
    return torch.where(norms.isfinite(), factors, 0.0)


def check_clip(clip_norm: Any) -> None:
    """Refuse a bound that no update can have."""
    try:
        fine = not isinstance(clip_norm, Clip) and bool(clip_norm > 0)  # NaN is not
    except Exception:  # no number, or several
        fine = False
    if not fine:
        found = clip_norm if isinstance(clip_norm, float | np.generic) else repr(clip_norm)
        keeper = "; `sparsefed.server.Keeper` takes a clip" if isinstance(clip_norm, Clip) else ""
        expected = "expected a clip norm above 0, infinite for none"
        raise UpdateError(f"{expected}, found {one_line(found, 80)}{keeper}")


def shares_of(weights: PerClient) -> PerClient:
    """Each weight over their sum, which float64 need not hold; one of the weights is above 0."""
    shares = weights / weights.max()
    return shares / shares.sum()


class Updates(ABC):
    """The updates of one round: `count` clients, `size` parameters each."""

    count: int
    size: int
    weights: PerClient | None = None
    """How much each client counts in the mean, relative to the others; None where all count the same."""
    aside: Aside = NOTHING
    """What the server knows of the round beside the updates."""

    @abstractmethod
    def norms(self) -> PerClient:
        """The ℓ2 norm of every update, in float64; not finite only where the update is not."""

    @abstractmethod
    def admitted(self, clip_norm: float = math.inf) -> "Updates":
        """What a server lets in: updates of finite norm, shortened to ℓ2 length `clip_norm` > 0 if longer."""

    @abstractmethod
    def sum(self) -> Vector:
        """The sum over clients, unweighted."""

    @abstractmethod
    def as_dense(self) -> "Dense":
        """The same updates as a matrix, made when first asked for and then remembered."""

    def rows(self) -> Matrix:
        """The matrix itself; read it, never write to it."""
        return self.as_dense().rows()

    def mean(self) -> Vector:
        """The average over clients, each counted once, or by its weight where there are weights.

        A client's weight multiplies its influence: whoever reports its own example count can lie about it.
        """
        if self.count == 0:
            raise UpdateError("expected at least 1 update to average, found 0")
        if self.weights is None:
            mean = self.sum() / self.count
        elif bool(self.weights.sum() > 0):
            mean = self.weighted_sum(shares_of(self.weights))
        else:
            raise UpdateError(f"expected a weight above 0 among {amount(self.count, 'update')}, found none")
        if self.weights is None and not all_finite(mean):  # a sum can overflow where the mean does not
            mean = self.weighted_sum(mean.new_full((self.count,), 1 / self.count, dtype=torch.float64))
        return mean

    def mean_of(self, linear: Callable[[Vector], Tensor], growth: float) -> Tensor:
        """The mean of a linear function of the updates; `growth` is how much it may lengthen one."""
        return linear(self.mean())

    def weighted_sum(self, weights: Any) -> Vector:
        """Σ wᵢ uᵢ, for a finite weight wᵢ ≥ 0 of each client in a tensor, an array or a list."""
        return self.as_dense().weighted_sum(weights)

    def gram(self) -> Tensor:
        """Inner products of all pairs of clients, `[clients, clients]`, in float64."""
        return gram(self.rows())

    def squared_distances(self) -> Tensor:
        """‖uᵢ − uⱼ‖² of all pairs of clients, `[clients, clients]`; exactly 0 for identical updates."""
        return self.as_dense().squared_distances()


class Dense(Updates):
    """Updates whose matrix exists, in float32 or float64, with one factor per row still to be applied."""

    def __init__(
        self,
        matrix: Matrix,
        factors: PerClient | None = None,
        raw_norms: PerClient | None = None,
        weights: PerClient | None = None,
        roll: Roll | None = None,
        *,
        aside: Aside = NOTHING,
    ) -> None:
        self.matrix, self.factors, self.weights, self.aside = _wide(matrix), factors, weights, aside
        self.count, self.size = matrix.shape
        self.roll = roll or Roll(range(self.count), np.arange(self.count), None, {})
        if raw_norms is not None:  # the norms of the matrix's rows, where someone has computed them already
            self._raw_norms = raw_norms

    @property
    def dtype(self) -> torch.dtype:
        """The type of the matrix."""
        return self.matrix.dtype

    @cached_property
    def _raw_norms(self) -> PerClient:
        if _is_one_row_repeated(self.matrix):
            return row_norms(self.matrix[:1]).expand(self.count)
        return row_norms(self.matrix)

    def norms(self) -> PerClient:
        return self._raw_norms if self.factors is None else self._raw_norms * self.factors

    def admitted(self, clip_norm: float = math.inf) -> "Dense":
        check_clip(clip_norm)
        keep = self.norms().isfinite()
        return (self if bool(keep.all()) else self._only(keep)).shortened(clip_norm)

    def _only(self, keep: Tensor) -> "Dense":
        factors, weights = (part if part is None else part[keep] for part in (self.factors, self.weights))
        roll = self.roll.only(keep.cpu().numpy(), self.norms())
        aside = self.aside.only(keep.cpu().numpy())
        return Dense(self.matrix[keep], factors, self._raw_norms[keep], weights, roll, aside=aside)

    def shortened(self, clip_norm: float) -> "Dense":
        """The same updates with the long ones shortened to `clip_norm`."""
        norms = self.norms()
        if not bool((norms > clip_norm).any()):
            return self
        factors = clip_factors(norms, clip_norm) * (1.0 if self.factors is None else self.factors)
        raw, limits = self._raw_norms, torch.finfo(self.dtype)
        # a row so long that its factor has few digits is written anew
        extreme = (factors > 0) & ((factors < limits.tiny / limits.eps) | (raw >= torch.finfo(raw.dtype).max))
        if bool(extreme.any()):
            raw, factors = torch.where(extreme, clip_norm, raw), torch.where(extreme, 1.0, factors)
        return self._scaled(factors, raw, extreme, clip_norm)

    def _scaled(self, factors: PerClient, raw: PerClient, extreme: Tensor, clip_norm: float) -> "Dense":
        """The same rows with new factors and norms, those that are `extreme` written anew."""
        matrix = self.matrix.clone() if bool(extreme.any()) else self.matrix
        for row in extreme.nonzero()[:, 0].tolist():
            matrix[row] = with_norm(matrix[row], clip_norm)
        roll = self.roll._replace(sent=self.norms() if self.roll.sent is None else self.roll.sent)
        return Dense(matrix, factors, raw, self.weights, roll, aside=self.aside)

    def columnwise(self, reduce: Callable[[Matrix], Vector]) -> Vector:
        """`reduce` of the matrix without its factors, for one that looks at each column by itself."""
        return reduce(self.matrix)

    def columns(self, places: np.ndarray) -> Matrix:
        """Some columns of the matrix without its factors, `places` in ascending order."""
        return self.matrix.index_select(1, torch.from_numpy(places).to(self.matrix.device))

    def row(self, client: int) -> Vector:
        """One row of the matrix without its factor."""
        return self.matrix[client]

    def stacked(self, other: "Dense", raw_norms: PerClient) -> "Dense":
        """These updates and then the others, which have the norms `raw_norms`."""
        dtype = torch.promote_types(self.dtype, other.dtype)
        both = self.matrix.new_empty((self.count + other.count, self.size), dtype=dtype)
        for part, place in ((self, both[: self.count]), (other, both[self.count :])):
            if part.factors is None or part.matrix.requires_grad:
                place.copy_(part.rows())
            else:
                torch.mul(part.matrix, part.factors.to(part.matrix)[:, None], out=place)
        return Dense(both, raw_norms=raw_norms)

    def as_dense(self) -> "Dense":
        return self

    def sum(self) -> Vector:
        return self._weighted_sum(torch.ones(self.count, dtype=torch.float64, device=self.matrix.device))

    def weighted_sum(self, weights: Any) -> Vector:
        return self._weighted_sum(read_weights(weights, self.count).to(self.matrix.device))

    def _weighted_sum(self, weights: PerClient) -> Vector:
        weights = weights if self.factors is None else weights * self.factors
        if _is_one_row_repeated(self.matrix):
            return self.matrix[0] * float(weights.sum())
        return weighted_sum(weights, self.matrix)

    def rows(self) -> Matrix:
        return self.matrix if self.factors is None else self.matrix * self.factors.to(self.matrix)[:, None]

    @cached_property
    def _squared_distances(self) -> Tensor:
        return squared_distances(self.matrix, self.factors)

    def squared_distances(self) -> Tensor:
        return self._squared_distances

    def report(self, shares: PerClient | None = None) -> list[ClientReport]:
        """What became of each client's update, in the order and under the ids that `dense` was given.

        `shares` are `rule.shares(updates)`, how much of each update the rule took in.
        """
        weights = self.weights
        parts = None if weights is None or not bool((weights > 0).any()) else shares_of(weights)
        return self.roll.reports(self.norms(), shares, parts)


def _is_one_row_repeated(matrix: Matrix) -> bool:
    return len(matrix) > 1 and matrix.stride(0) == 0


def _wide(matrix: Matrix) -> Matrix:
    """At least float32: half types hold neither the norms nor the sums of what they hold."""
    if matrix.dtype in (torch.float32, torch.float64):
        return matrix
    return matrix[:1].float().expand(len(matrix), -1) if _is_one_row_repeated(matrix) else matrix.float()

"""What a defense may ask about the updates of a round, however they are stored or computed.

A defense asks only for what it needs (a mean, norms, inner products, rows), so that the
`[clients, params]` matrix exists only for rules that truly compare clients coordinate by coordinate.
"""

import math
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from sparsefed.core.errors import UpdateError
from sparsefed.core.types import Matrix, PerClient, Vector
from sparsefed.kernels.gram import squared_distances

__all__ = ["Dense", "Joined", "Lazy", "Source", "Updates", "clip_factors", "dense"]


def clip_factors(norms: PerClient, clip_norm: float) -> PerClient:
    """min(1, L / ‖u‖) for each client, and 0 where the norm is not finite (the update is dropped)."""
    factors = torch.where(norms > clip_norm, clip_norm / norms, 1.0)
    return torch.where(norms.isfinite(), factors, 0.0)


def _check_clip(clip_norm: float) -> None:
    if not clip_norm > 0:  # NaN is not
        raise UpdateError(f"a clip needs a norm above 0, infinite for none, got {clip_norm}")


class Updates(ABC):
    """The updates of one round: `count` clients, `size` parameters each."""

    count: int
    size: int

    @abstractmethod
    def norms(self) -> PerClient:
        """The ℓ2 norm of every update."""

    @abstractmethod
    def admitted(self, clip_norm: float = math.inf) -> "Updates":
        """What a server lets in: updates of finite norm, shortened to ℓ2 length `clip_norm` > 0 if longer."""

    @abstractmethod
    def sum(self) -> Vector:
        """The sum over clients."""

    @abstractmethod
    def as_dense(self) -> "Dense":
        """The same updates as a matrix, made when first asked for and then remembered."""

    def rows(self) -> Matrix:
        """The matrix itself; read it, never write to it."""
        return self.as_dense().rows()

    def mean(self) -> Vector:
        """The plain average over clients: every client counts once, whatever the size of its data."""
        if self.count == 0:
            raise UpdateError("the mean needs at least 1 update, got 0")
        return self.sum() / self.count

    def weighted_sum(self, weights: PerClient) -> Vector:
        """Σ wᵢ uᵢ."""
        return self.as_dense().weighted_sum(weights)

    def gram(self) -> Tensor:
        """Inner products of all pairs of clients, `[clients, clients]`."""
        rows = self.rows()
        return rows @ rows.T

    def squared_distances(self) -> Tensor:
        """‖uᵢ − uⱼ‖² of all pairs of clients, `[clients, clients]`; exactly 0 for identical updates."""
        return self.as_dense().squared_distances()


class Dense(Updates):
    """Updates whose matrix exists, with one factor per row still to be applied."""

    def __init__(
        self, matrix: Matrix, factors: PerClient | None = None, raw_norms: PerClient | None = None
    ) -> None:
        self.matrix, self.factors = matrix, factors
        self.count, self.size = matrix.shape
        if raw_norms is not None:  # the norms of the matrix's rows, where someone has computed them already
            self._raw_norms = raw_norms

    @cached_property
    def _raw_norms(self) -> PerClient:
        if self._is_one_row_repeated():
            return torch.linalg.vector_norm(self.matrix[:1], dim=1).expand(self.count)
        return torch.linalg.vector_norm(self.matrix, dim=1)

    def norms(self) -> PerClient:
        return self._raw_norms if self.factors is None else self._raw_norms * self.factors

    def admitted(self, clip_norm: float = math.inf) -> "Dense":
        _check_clip(clip_norm)
        norms = self.norms()
        keep = norms.isfinite()
        everyone = bool(keep.all())
        if everyone and not bool((norms > clip_norm).any()):
            return self
        factors = clip_factors(norms, clip_norm)
        if self.factors is not None:
            factors = factors * self.factors
        if everyone:
            return Dense(self.matrix, factors, self._raw_norms)
        return Dense(self.matrix[keep], factors[keep], self._raw_norms[keep])

    def as_dense(self) -> "Dense":
        return self

    def sum(self) -> Vector:
        return self.weighted_sum(self.matrix.new_ones(self.count))

    def weighted_sum(self, weights: PerClient) -> Vector:
        weights = weights if self.factors is None else weights * self.factors
        if self._is_one_row_repeated():
            return self.matrix[0] * weights.sum()
        return weights @ self.matrix

    def rows(self) -> Matrix:
        return self.matrix if self.factors is None else self.matrix * self.factors[:, None]

    @cached_property
    def _squared_distances(self) -> Tensor:
        return squared_distances(self.matrix, self.factors)

    def squared_distances(self) -> Tensor:
        return self._squared_distances

    def _is_one_row_repeated(self) -> bool:
        return self.count > 1 and self.matrix.stride(0) == 0


class Source(Protocol):
    """Something that computes the updates of a cohort on demand: a client engine."""

    count: int
    size: int

    def reduce(self, clip_norm: float) -> tuple[PerClient, Vector]:
        """Every client's norm before clipping, and the sum of the admitted updates, in one pass."""
        ...

    def rows(self) -> Matrix:
        """The unclipped updates, one row per client."""
        ...


class Lazy(Updates):
    """Updates computed by a `Source` in one bounded pass when first asked for, and then remembered."""

    def __init__(self, source: Source, clip_norm: float = math.inf) -> None:
        self.source, self.clip_norm = source, clip_norm
        self.count, self.size = source.count, source.size
        self._rows: Dense | None = None

    @cached_property
    def _reduced(self) -> tuple[PerClient, Vector]:
        return self.source.reduce(self.clip_norm)

    @cached_property
    def raw_norms(self) -> PerClient:
        """The norms as the clients sent them."""
        return self._reduced[0]

    def norms(self) -> PerClient:
        return self.raw_norms.clamp(max=self.clip_norm)

    def admitted(self, clip_norm: float = math.inf) -> "Updates":
        _check_clip(clip_norm)
        tighter = self if clip_norm >= self.clip_norm else Lazy(self.source, clip_norm)
        self.raw_norms = tighter.raw_norms  # one pass serves both
        if bool(tighter.raw_norms.isfinite().all()):
            return tighter
        return tighter.as_dense().admitted()

    def sum(self) -> Vector:
        return self._reduced[1]

    def as_dense(self) -> Dense:
        if self._rows is None:
            rows = self.source.rows()
            norms = torch.linalg.vector_norm(rows, dim=1)
            clips = bool((norms > self.clip_norm).any())
            factors = torch.where(norms > self.clip_norm, self.clip_norm / norms, 1.0)
            self._rows = Dense(rows, factors if clips else None, norms)
        return self._rows


class Joined(Updates):
    """Two groups of updates seen as one: the first group's clients come first."""

    def __init__(self, first: Updates, second: Updates) -> None:
        if first.size != second.size:
            raise UpdateError(f"updates of {second.size} parameters cannot join updates of {first.size}")
        self.first, self.second = first, second
        self.count, self.size = first.count + second.count, first.size

    def norms(self) -> PerClient:
        return torch.cat([self.first.norms(), self.second.norms()])

    def admitted(self, clip_norm: float = math.inf) -> "Joined":
        return Joined(self.first.admitted(clip_norm), self.second.admitted(clip_norm))

    def sum(self) -> Vector:
        return self.first.sum() + self.second.sum()

    @cached_property
    def _dense(self) -> Dense:
        return Dense(torch.cat([self.first.rows(), self.second.rows()]), raw_norms=self.norms())

    def as_dense(self) -> Dense:
        return self._dense


def dense(matrix: Matrix | np.ndarray) -> Dense:
    """Updates of a `[clients, params]` matrix, for anyone's own loop; NumPy arrays and tensors alike."""
    tensor = torch.from_numpy(np.ascontiguousarray(matrix)) if isinstance(matrix, np.ndarray) else matrix
    if not (isinstance(tensor, Tensor) and tensor.ndim == 2 and tensor.is_floating_point()):
        found = f"{type(matrix).__name__} of shape {tuple(getattr(matrix, 'shape', ()))}"
        raise UpdateError(f"updates need a floating-point matrix [clients, params], got {found}")
    return Dense(tensor.detach())

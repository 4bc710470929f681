"""Which clients train which model of an ensemble, and what this proves about its majority vote.

The theorems and their proofs are in docs/votes.md. Groups are drawn from the seed, which the server keeps:
no client chooses its own.
"""

from abc import abstractmethod
from typing import Self

import numpy as np
from pydantic import Field, PositiveInt, model_validator
from scipy.stats import beta, hypergeom

from sparsefed.core.errors import SpecError
from sparsefed.core.seeds import Stream, rng
from sparsefed.core.spec import Spec
from sparsefed.core.types import ClientIds
from sparsefed.kernels.votes import survived_at_costs, survived_when_spread

__all__ = ["Drawn", "Grouping", "Hashed", "shares_between", "tally"]


class Grouping(Spec, family=True):
    """How clients are assigned to groups, each of which trains a model of its own."""

    groups: PositiveInt
    """N, how many models vote."""

    @property
    @abstractmethod
    def rests_on(self) -> str:
        """In a few words, what a certificate needs."""

    @abstractmethod
    def members(self, clients: int, seed: int) -> list[ClientIds]:
        """The clients of each group, sorted; raises SpecError where there are too few."""

    @abstractmethod
    def survived(self, votes: np.ndarray, classes: int, clients: int, seed: int) -> np.ndarray:
        """How many compromised clients, any and sending anything, leave each prediction as it is.

        `votes` `[groups, points]` are the classes that the groups' models give; int64 `[points]`, −1 where
        not even the prediction without attack is sure.
        """


class Hashed(Grouping):
    """Each client in one group, by a hash that the seed keys (FLCert-P, Cao et al., 2022), or in several.

    With `copies` above 1 this is finite aggregation (Wang, Levine and Feizi, 2022): clients are hashed to
    as many buckets as there are groups, and bucket b trains the groups b + s for `copies` shifts s, drawn
    from the seed too.
    """

    copies: PositiveInt = 1
    """How many groups each client trains."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.copies > self.groups:
            raise ValueError(f"expected at most {self.groups} `copies`, one per group, found {self.copies}")
        return self

    @property
    def rests_on(self) -> str:
        return "each client in its own group" if self.copies == 1 else f"each client in {self.copies} groups"

    def members(self, clients: int, seed: int) -> list[ClientIds]:
        if self.groups > clients:
            raise SpecError(f"{self!r}: expected at most a group per client, found {clients} clients")
        order = rng(seed, Stream.GROUPS, 0, 0).permutation(np.arange(clients, dtype=np.int32))
        buckets = np.array_split(order, self.groups)
        shifts = self.shifts(seed)
        return [
            np.sort(np.concatenate([buckets[place] for place in (group - shifts) % self.groups]))
            for group in range(self.groups)
        ]

    def shifts(self, seed: int) -> np.ndarray:
        """How far the groups of a bucket are from it, `[copies]`."""
        if self.copies == 1:
            return np.zeros(1, np.int64)
        return np.sort(rng(seed, Stream.GROUPS, 1, 0).choice(self.groups, self.copies, replace=False))

    def survived(self, votes: np.ndarray, classes: int, clients: int, seed: int) -> np.ndarray:
        counts = tally(votes, classes)
        return survived_when_spread(votes.T, counts.argmax(1), counts, self.shifts(seed))

    def survived_at_costs(self, votes: np.ndarray, classes: int, costs: np.ndarray) -> np.ndarray:
        """`survived` where group g's vote on a point takes `costs[g, point]` compromised clients to change.

        Raises SpecError where clients are in several groups.
        """
        if self.copies != 1:
            raise SpecError(f"{self!r}: expected each client in one group (`copies` = 1)")
        counts = tally(votes, classes)
        return survived_at_costs(votes.T, counts.argmax(1), counts, costs.T)


class Drawn(Grouping):
    """Each group is drawn at random from all clients (FLCert-D, Cao et al., 2022); groups overlap.

    What is certified is the vote of *all* possible groups, whose shares of votes the drawn ones estimate, so
    every statement holds with probability `confidence` for all points together.
    """

    clients: PositiveInt
    """Clients in each group."""
    confidence: float = Field(default=0.999, gt=0, lt=1)
    """The probability that all certificates are right."""

    @property
    def rests_on(self) -> str:
        return f"groups drawn at random; holds with probability {self.confidence:g}"

    def members(self, clients: int, seed: int) -> list[ClientIds]:
        if self.clients > clients:
            raise SpecError(f"{self!r}: expected groups of at most all {clients} clients")
        draws = (rng(seed, Stream.GROUPS, 2, group) for group in range(self.groups))
        return [np.sort(draw.choice(clients, self.clients, replace=False)).astype(np.int32) for draw in draws]

    def survived(self, votes: np.ndarray, classes: int, clients: int, seed: int) -> np.ndarray:
        low, high = shares_between(votes, classes, self.confidence)
        gap = low - high
        return np.searchsorted(2 * self.touched(clients), gap) - 1  # the last m with 2 · touched(m) < gap

    def touched(self, clients: int) -> np.ndarray:
        """The probability that a drawn group has one of m compromised clients, for m = 0, 1, …, clients."""
        missed = hypergeom.pmf(0, clients, np.arange(clients + 1), self.clients)
        return np.maximum.accumulate(1 - missed)


def shares_between(votes: np.ndarray, classes: int, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Bounds on shares of independent votes `[votes, points]` (Clopper and Pearson), right for all together.

    The share of each point's most frequent class is at least the first, that of every other class at most the
    second, `[points]` each, with probability `confidence`.
    """
    counts = tally(votes, classes)
    risk = (1 - confidence) / (2 * counts.size)  # of each bound
    winners = counts.argmax(1)[:, None]
    own = np.take_along_axis(counts, winners, 1)[:, 0]
    np.put_along_axis(counts, winners, -1, 1)
    most, total = counts.max(1), len(votes)
    low = np.where(own > 0, beta.ppf(risk, own, total - own + 1), 0.0)
    high = np.where(most < total, beta.ppf(1 - risk, most + 1, total - most), 1.0)
    return low, np.minimum(high, 1 - low)


def tally(votes: np.ndarray, classes: int) -> np.ndarray:
    """How many groups give each class, int64 `[points, classes]`; `votes` are `[groups, points]`."""
    counts = np.zeros((votes.shape[1], classes), np.int64)
    points = np.arange(votes.shape[1])
    for vote in votes:
        counts[points, vote] += 1
    return counts

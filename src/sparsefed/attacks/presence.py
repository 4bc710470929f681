"""Who is compromised, and when they attack."""

from typing import Self

import numpy as np
from pydantic import Field, model_validator

from sparsefed.attacks.base import Presence
from sparsefed.core.errors import SpecError
from sparsefed.core.seeds import Stream, rng
from sparsefed.core.text import amount
from sparsefed.core.types import ClientIds

__all__ = ["FixedPerRound", "Nobody", "Once", "Pool"]


class _Window(Presence):
    """A presence from one round to another."""

    first: int = Field(default=1, gt=0)
    """The first round of the attack."""
    last: int | None = Field(default=None, gt=0)
    """The last round of the attack; the end of training if not given."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.last is not None and self.last < self.first:
            raise ValueError(f"expected `last` of at least `first` = {self.first}, found {self.last}")
        return self

    @property
    def starts(self) -> int:
        return self.first

    @property
    def ends(self) -> int | None:
        return self.last

    def attacks_in(self, round: int) -> bool:
        """Whether the attack goes on in this round."""
        return self.first <= round and (self.last is None or round <= self.last)


class Pool(_Window):
    """A seeded pool of clients, sampled like everyone else: how many meet in a round varies."""

    fraction: float | None = Field(default=None, gt=0, lt=1)
    """The share of the population that is compromised. Give this or `clients`."""
    clients: int | None = Field(default=None, gt=0, strict=True)
    """The number of compromised clients. Give this or `fraction`."""

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if (self.fraction is None) == (self.clients is None):
            found = "neither" if self.clients is None else "both"
            raise ValueError(f"expected either `fraction` or `clients`, found {found}")
        return self

    def compromised(self, clients: int, seed: int) -> np.ndarray:
        """Raises `SpecError` where the pool is larger than the population."""
        size = self.clients if self.clients is not None else round((self.fraction or 0.0) * clients)
        if not 0 < size < clients:
            key = "clients" if self.clients is not None else "fraction"
            found = f"expected 1 to {clients - 1} compromised clients of {clients}, found {size}"
            raise SpecError(found, [key], "Pool")
        mask = np.zeros(clients, bool)
        mask[rng(seed, Stream.COMPROMISED).choice(clients, size, replace=False, shuffle=False)] = True
        return mask

    def attacking(self, pool: np.ndarray, cohort: ClientIds, round: int, seed: int) -> np.ndarray:
        return pool[cohort] & self.attacks_in(round)


class _InCohort(Presence):
    """An attacker that gets some of its devices into the cohorts it chooses, against all sampling."""

    count: int = Field(default=1, gt=0)
    """How many clients of a cohort attack, drawn anew for every round; the others are honest."""

    def compromised(self, clients: int, seed: int) -> np.ndarray:
        """No client is permanently compromised."""
        return np.zeros(clients, bool)

    def drawn(self, cohort: ClientIds, round: int, seed: int) -> np.ndarray:
        """The mask of the clients that the attacker takes; raises `SpecError` for small cohorts."""
        if self.count >= len(cohort):
            found = f"expected fewer than the {amount(len(cohort), 'client')} of a cohort, found {self.count}"
            raise SpecError(found, ["count"], type(self).__name__)
        mask = np.zeros(len(cohort), bool)
        mask[rng(seed, Stream.COMPROMISED, round).choice(len(cohort), self.count, replace=False)] = True
        return mask


class FixedPerRound(_Window, _InCohort):
    """The same number of attackers in every round, as cross-silo papers have it; not a sampled pool."""

    def share(self, pool: np.ndarray, cohort: int) -> float:
        """Of every round the same, so of all examples too."""
        return self.count / cohort

    def attacking(self, pool: np.ndarray, cohort: ClientIds, round: int, seed: int) -> np.ndarray:
        return self.drawn(cohort, round, seed) & self.attacks_in(round)


class Once(_InCohort):
    """A single round, usually near the end: how model replacement is used (Bagdasaryan et al., 2020)."""

    round: int = Field(gt=0)
    """The round of the attack."""

    @property
    def starts(self) -> int:
        return self.round

    @property
    def ends(self) -> int | None:
        return self.round

    def share(self, pool: np.ndarray, cohort: int) -> float:
        """Those few clients, of the whole population."""
        return self.count / len(pool)

    def attacking(self, pool: np.ndarray, cohort: ClientIds, round: int, seed: int) -> np.ndarray:
        return self.drawn(cohort, round, seed) & (round == self.round)


class Nobody(Presence):
    """No client is compromised; the attack accuracy is what an honest model reaches by its own mistakes."""

    def compromised(self, clients: int, seed: int) -> np.ndarray:
        return np.zeros(clients, bool)

    def attacking(self, pool: np.ndarray, cohort: ClientIds, round: int, seed: int) -> np.ndarray:
        return np.zeros(len(cohort), bool)

"""Who is compromised, and when they attack."""

from typing import Self

import numpy as np
from pydantic import Field, model_validator

from sparsefed.attacks.base import Presence
from sparsefed.errors import SpecError
from sparsefed.seeds import Stream, rng

__all__ = ["Pool"]


class Pool(Presence):
    """A seeded pool of clients, sampled like everyone else: how many meet in a round varies."""

    fraction: float | None = Field(default=None, gt=0, lt=1)
    """The share of the population that is compromised. Give this or `clients`."""
    clients: int | None = Field(default=None, gt=0)
    """The number of compromised clients. Give this or `fraction`."""
    first: int = Field(default=1, gt=0)
    """The first round of the attack."""
    last: int | None = Field(default=None, gt=0)
    """The last round of the attack; the end of training if not given."""

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if (self.fraction is None) == (self.clients is None):
            found = "neither" if self.clients is None else "both"
            raise ValueError(f"needs either `fraction` or `clients`, found {found}")
        if self.last is not None and self.last < self.first:
            raise ValueError(f"`last` must not be before `first` = {self.first}, found {self.last}")
        return self

    def compromised(self, clients: int, seed: int) -> np.ndarray:
        """Raises `SpecError` where the pool is larger than the population."""
        size = self.clients if self.clients is not None else round((self.fraction or 0.0) * clients)
        if not 0 < size < clients:
            raise SpecError(f"Pool needs 1 to {clients - 1} compromised clients of {clients}, got {size}")
        mask = np.zeros(clients, bool)
        mask[rng(seed, Stream.COMPROMISED).choice(clients, size, replace=False, shuffle=False)] = True
        return mask

    def attacks_in(self, round: int) -> bool:
        return self.first <= round and (self.last is None or round <= self.last)

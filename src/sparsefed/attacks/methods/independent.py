"""Attackers that do not collude: each makes its own upload from its own part of the auxiliary set."""

from typing import Any, Self

import numpy as np
import torch
from pydantic import Field, model_validator

from sparsefed.attacks.base import Method
from sparsefed.attacks.objectives.base import Objective
from sparsefed.attacks.view import Grant, View
from sparsefed.core.errors import SpecError
from sparsefed.core.types import Matrix, Vector

__all__ = ["Independent"]


class Independent(Method):
    """Another method, carried out by every compromised client for itself, with random numbers of its own."""

    method: Method
    """What each attacker does."""
    shards: int = Field(default=1, gt=0)
    """Into how many parts the auxiliary set is cut; client i always holds part i modulo `shards`."""

    @model_validator(mode="after")
    def _no_common_memory(self) -> Self:
        if self.method.collusive_memory:
            raise ValueError(
                f"expected a method that attackers can use alone, found {self.method!r}, which colludes"
            )
        return self

    def check(self, objective: Objective) -> None:
        self.method.check(objective)
        points = getattr(objective, "points", self.shards)
        if points < self.shards:
            raise ValueError(f"expected at least as many points as the {self.shards} shards, found {points}")

    @property
    def needs(self) -> Grant:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What the inner method reads."""
        return self.method.needs

    def init(self, params: Vector) -> Any:
        return self.method.init(params)

    def learn(self, view: View, generator: torch.Generator) -> Any:
        """What is public is known to every attacker alike; the auxiliary set is not shown."""
        return self.method.learn(view._replace(auxiliary=None), generator)

    def craft(self, view: View, generator: torch.Generator) -> Matrix:
        """One row per attacker, in the order of the cohort."""
        rows = [self.method.craft(self._alone(view, i), generator) for i in range(view.uploads)]
        return torch.cat(rows)

    def _alone(self, view: View, position: int) -> View:
        """What one of the attackers sees."""
        alone = np.arange(view.uploads) == position
        client = int(view.local.clients[position])
        own = view.auxiliary
        if own is not None:
            own = own.part(slice(client % self.shards, None, self.shards))
            if len(own.labels) == 0:
                found = len(view.wanted.labels)
                needed = f"expected at most as many shards as the {found} points of the objective"
                raise SpecError(f"{needed}, found {self.shards}", ["shards"], type(self).__name__)
        return view._replace(local=view.local.of(alone), auxiliary=own)

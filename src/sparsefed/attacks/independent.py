"""Attackers that do not collude: each makes its own upload from its own part of the auxiliary set."""

from typing import Any

import numpy as np
import torch
from pydantic import Field

from sparsefed.attacks.base import Method
from sparsefed.attacks.view import Grant, View
from sparsefed.types import Matrix, Vector

__all__ = ["Independent"]


class Independent(Method):
    """Another method, carried out by every compromised client for itself, with random numbers of its own."""

    method: Method
    """What each attacker does."""
    shards: int = Field(default=1, gt=0)
    """Into how many parts the auxiliary set is cut; client i holds part i modulo `shards`, for good."""

    @property
    def needs(self) -> Grant:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What the inner method reads."""
        return self.method.needs

    def init(self, params: Vector) -> Any:
        return self.method.init(params)

    def learn(self, view: View, generator: torch.Generator) -> Any:
        """What is public is known to every attacker alike."""
        return self.method.learn(view, generator)

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
        return view._replace(local=view.local.of(alone), auxiliary=own)

"""Explicit boosting: honest work on the auxiliary set, times γ (Bhagoji et al., 2019)."""

import numpy as np
import torch
from pydantic import Field

from sparsefed.attacks.base import Method, needs_points
from sparsefed.attacks.objectives.base import Objective
from sparsefed.attacks.view import View
from sparsefed.clients.base import LocalData
from sparsefed.core.types import Matrix

__all__ = ["Boosting"]


class Boosting(Method):
    """What an honest client would send if the auxiliary set were its data, multiplied by γ.

    Bare data poisoning at γ = 1. Knows nothing of a clip: what is too long is cut by the server.
    """

    factor: float = Field(default=1.0, gt=0)
    """γ. To outweigh the other clients of a round it must be about cohort / attackers."""

    def check(self, objective: Objective) -> None:
        needs_points(self, objective)

    def craft(self, view: View, generator: torch.Generator) -> Matrix:
        """All colluders send the same vector, computed once."""
        inputs, labels, *_ = view.wanted
        data = LocalData(view.local.clients[:1], inputs, labels, np.array([len(labels)]))
        update = view.clients.updates(view.work(data, generator.initial_seed())).sum()
        return (self.factor * update).expand(view.uploads, -1)

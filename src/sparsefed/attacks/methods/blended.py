"""Poison inside honest work: what a rule that compares clients has to tell from an honest update."""

from typing import Any

import torch
from pydantic import Field

from sparsefed.attacks.base import Method, fit_to, project
from sparsefed.attacks.objectives.base import Objective
from sparsefed.attacks.view import Grant, View
from sparsefed.core.types import Matrix, Vector
from sparsefed.kernels import row_norms

__all__ = ["Blended"]


class Blended(Method):
    """Every attacker sends its device's honest update, and another method's upload added to it.

    Against rules that look for attackers who resemble each other (FLAME, FoolsGold): these uploads differ as
    honest ones do. A large `share` gives them away.
    """

    method: Method
    """Where the poison comes from."""
    share: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """How long the poison is, as a multiple of the honest update that it is added to."""

    @property
    def needs(self) -> Grant:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What the inner method reads."""
        return self.method.needs

    @property
    def collusive_memory(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether the inner method's memory is shared."""
        return self.method.collusive_memory

    def check(self, objective: Objective) -> None:
        self.method.check(objective)

    def init(self, params: Vector) -> Any:
        return self.method.init(params)

    def begin(self, params: Vector, objective: Objective, auxiliary: Any) -> Any:
        return self.method.begin(params, objective, auxiliary)

    def aimed(self, auxiliary: Any, memory: Any) -> Any:
        return self.method.aimed(auxiliary, memory)

    def learn(self, view: View, generator: torch.Generator) -> Any:
        return self.method.learn(view, generator)

    def craft(self, view: View, generator: torch.Generator) -> Matrix:
        """One row per attacker, in the order of the cohort; of zeros where honest work is not finite."""
        rows = view.clients.updates(view.work(view.local, generator.initial_seed())).rows()
        rows = torch.where(rows.isfinite().all(dim=1, keepdim=True), rows, 0.0)
        poison = self.method.craft(view, generator).to(rows)
        lengths = (self.share * row_norms(rows)).tolist()
        uploads = [
            project(honest + fit_to(hostile, length), view.clip_norm)
            for honest, hostile, length in zip(rows, poison, lengths, strict=True)
        ]
        return torch.stack(uploads)

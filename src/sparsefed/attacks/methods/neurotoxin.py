"""Neurotoxin: a backdoor where honest clients do not step, forgotten late (Zhang et al., ICML 2022)."""

import torch
from pydantic import Field

from sparsefed.attacks.methods.coordinate_aware import Watch, watched
from sparsefed.attacks.methods.pgd import PGD
from sparsefed.attacks.view import View
from sparsefed.core.types import Vector
from sparsefed.kernels import top_k

__all__ = ["Neurotoxin"]


class Neurotoxin(PGD):
    """PGD confined to the coordinates that moved least between the last two models the attackers were sent.

    The published attacker sees every round; devices that are drawn see the model's movement between the
    rounds that they are drawn in. Before there was any, plain PGD.
    """

    avoided: float = Field(default=0.05, gt=0, lt=1)
    """k, the share of the coordinates, those that moved most, that is left alone."""

    def init(self, params: Vector) -> Watch:
        return Watch(torch.zeros_like(params), torch.zeros_like(params), torch.zeros((), dtype=torch.int64))

    def learn(self, view: View, generator: torch.Generator) -> Watch:
        return watched(view, decay=0.0)

    def vector(self, view: View, generator: torch.Generator) -> Vector:
        activity = view.memory.activity
        if not bool(activity.any()):
            return self.descend(view, generator)
        kept = torch.ones_like(activity, dtype=torch.bool)
        kept[top_k(activity, max(1, round(self.avoided * len(activity))))] = False
        return self.descend(view, generator, kept)

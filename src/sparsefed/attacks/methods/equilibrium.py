"""An attack made for the anchor: compute the model that can be held forever, and keep pulling toward it.

Under an anchor the model settles where honest updates, hostile ones and the pull balance. The attackers play
those rounds ahead on their own devices' data and send, in every round, the direction to where they end:
model-targeted poisoning (Suya et al., ICML 2021) of an equilibrium.
"""

from typing import ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from sparsefed.attacks.base import Colluding, fit_to
from sparsefed.attacks.objectives.base import Objective
from sparsefed.attacks.view import View
from sparsefed.core.types import Vector
from sparsefed.kernels import all_finite

__all__ = ["Equilibrium", "Target"]


class Target(NamedTuple):
    """What the attackers remember: the model they pull toward."""

    params: Vector
    """θ*, their latest guess."""
    rounds: Tensor
    """How many rounds they have seen, int64 `[]`."""


class Equilibrium(Colluding):
    """Pull toward the model that the federation would come to rest at.

    With auxiliary points the attackers want those; untargeted, they climb the loss of their own clean data.
    """

    collusive_memory: ClassVar[bool] = True

    steps: int = Field(default=5, gt=0)
    """Rounds played ahead in each round; each uses what the attackers' devices of this round would send."""
    ambition: float = Field(default=2.0, ge=1)
    """Multiple of their own force with which the target is computed, so that it is never reached."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """ρ, the server's, which makes every force 1/(1 − ρ) times as strong."""

    def check(self, objective: Objective) -> None:
        """Any objective will do."""

    def init(self, params: Vector) -> Target:
        return Target(params.clone(), torch.zeros((), dtype=torch.int64))

    def learn(self, view: View, generator: torch.Generator) -> Target:
        target, rounds = view.memory
        target = target if int(rounds) else view.params
        for _ in range(self.steps):
            ahead = self.played(view._replace(params=target), generator)
            if not all_finite(ahead):  # nothing bounds the attackers: this is far enough
                break
            target = ahead
        return Target(target, rounds + 1)

    def played(self, view: View, generator: torch.Generator) -> Vector:
        """The model one round after `view.params`, were the attackers `ambition` times as strong."""
        honest = view.own_mean(generator.initial_seed())
        share = min(1.0, self.ambition * view.uploads / view.cohort)
        force = (1 - share) * honest + share * fit_to(self.wish(view, honest), self.radius(view))
        pulled = view.anchor.pulled(view.params, view.initial, view.lr)
        return pulled - view.server_lr / (1 - self.momentum) * force

    def wish(self, view: View, honest: Vector) -> Vector:
        """The update that the attackers would like best at `view.params`, of any length."""
        if view.auxiliary is None:
            return -honest
        view.network.bind(view.params)
        return view.network.gradient(view.auxiliary.inputs, view.auxiliary.labels)

    def vector(self, view: View, generator: torch.Generator) -> Vector:
        return view.params - view.memory.params

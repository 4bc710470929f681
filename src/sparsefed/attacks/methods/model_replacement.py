"""Model replacement (Bagdasaryan et al., 2020): scaled so that the average becomes the attacker's model."""

from functools import partial

import torch
from pydantic import Field
from torch import Tensor

from sparsefed.attacks.base import project
from sparsefed.attacks.methods.pgd import PGD, Whole, with_clean
from sparsefed.attacks.view import View
from sparsefed.core.types import Matrix, Vector

__all__ = ["ModelReplacement"]


class ModelReplacement(PGD):
    """Train X from θ, and send γ(θ − X) with γ = n / (m λ), m attackers among n clients.

    Every step descends the mean of two losses: on a batch of the auxiliary set, and on the attacker's own
    clean data, which keeps X good at the task (Bagdasaryan mixes both in one batch). Under a bound L the
    training stays within L / γ of θ (Sun et al., 2019), so that nothing is cut off: the server's model
    becomes X, up to the honest updates and the server's momentum.
    """

    epochs: int = Field(default=50, gt=0)
    """e, passes over the auxiliary set; they end early at `enough`."""
    enough: float = Field(default=1e-4, ge=0)
    """Mean loss on the auxiliary set at which the training stops."""

    def factor(self, view: View) -> float:
        """γ: what the server's average and learning rate will divide by."""
        return view.cohort / (view.uploads * view.server_lr)

    def radius(self, view: View) -> float:
        """How far X may be from θ."""
        return super().radius(view) / self.factor(view)

    def course(self, view: View, kept: Tensor | None) -> Whole:
        return Whole(view, partial(self.gradient, view), kept)

    def gradient(self, view: View, inputs: Tensor, labels: Tensor) -> Vector:
        """The mean of the two gradients at the bound network."""
        return with_clean(view, inputs, labels)

    def finished(self, view: View) -> bool:
        with view.network.evaluating():
            return float(view.network.loss(*view.wanted[:2])) <= self.enough

    def craft(self, view: View, generator: torch.Generator) -> Matrix:
        update = self.factor(view) * self.descend(view, generator)
        update = project(update, super().radius(view))  # a large γ magnifies rounding as well
        return update.expand(view.uploads, -1)

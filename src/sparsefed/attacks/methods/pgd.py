"""Projected gradient descent on the auxiliary set, one vector for all colluders (Algorithm 6)."""

import math

import torch
from pydantic import Field
from torch import Tensor

from sparsefed.attacks.base import Colluding, needs_points
from sparsefed.attacks.objectives.base import Objective
from sparsefed.attacks.view import View
from sparsefed.core.types import Vector

__all__ = ["PGD"]


class PGD(Colluding):
    """Train a copy of the model on the wrong labels inside the ℓ2 ball of radius L, then use all of L."""

    epochs: int = Field(default=1, gt=0)
    """e, passes over the auxiliary set in each round."""
    batch_size: int = Field(default=50, gt=0)
    """ℓ, auxiliary points per step."""
    local_lr: float | None = Field(default=None, gt=0)
    """η; the round's λ(t) if not given."""
    boost: float = Field(default=1.0, gt=0)
    """Factor on every gradient."""

    def check(self, objective: Objective) -> None:
        needs_points(self, objective)

    def vector(self, view: View, generator: torch.Generator) -> Vector:
        """The update M₀ − Mₑ after e epochs of projected steps."""
        return self.descend(view, generator)

    def descend(self, view: View, generator: torch.Generator, kept: Tensor | None = None) -> Vector:
        """As `vector`; with `kept`, a mask `[params]`, only those coordinates may move."""
        lr = self.boost * self.lr(view)
        inputs, labels, *_ = view.wanted
        local = view.params.clone()  # M₀ ← θ
        view.network.bind(local)
        for _ in range(self.epochs):
            order = torch.randperm(len(labels), generator=generator).to(labels.device)
            for batch in order.split(self.batch_size):
                gradient = self.gradient(view, inputs[batch], labels[batch])
                local.sub_(gradient if kept is None else gradient * kept, alpha=lr)  # M̂ ← M − ηg
                self.confine(local, view)
            if self.finished(view):
                break
        return view.params - local

    def gradient(self, view: View, inputs: Tensor, labels: Tensor) -> Vector:
        """The attack gradient g on one batch; the network is bound to M."""
        return view.network.gradient(inputs, labels)

    def finished(self, view: View) -> bool:
        """Whether to end before the last epoch, asked after each; the network is bound to M."""
        return False

    def lr(self, view: View) -> float:
        """η of this round."""
        return view.lr if self.local_lr is None else self.local_lr

    def confine(self, local: Vector, view: View) -> None:
        """M ← M₀ + P(M̂ − M₀), in place: back into the ball around θ."""
        if math.isfinite(radius := self.radius(view)):
            moved = local - view.params
            length = float(torch.linalg.vector_norm(moved))
            if length > radius:
                torch.add(view.params, moved, alpha=radius / length, out=local)

"""Projected gradient descent on the auxiliary set, one vector for all colluders (Algorithm 6)."""

import math
from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor

from sparsefed.attacks.base import Colluding, needs_points
from sparsefed.attacks.objectives.base import Objective
from sparsefed.attacks.view import View
from sparsefed.core.types import Vector
from sparsefed.kernels import norm_of
from sparsefed.models.span import Span

__all__ = ["PGD", "Whole", "with_clean"]

_TINY = 1e-30
"""Squares below may have lost digits."""


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
        course = self.course(view, kept)
        moved = torch.zeros_like(course.start)  # M₀ ← θ
        for _ in range(self.epochs):
            order = torch.randperm(len(view.wanted.labels), generator=generator).to(moved.device)
            for batch in order.split(self.batch_size):
                moved.sub_(course.gradient(batch), alpha=lr)  # M̂ ← M − ηg
                self.confine(moved, view)  # M ← M₀ + P(M̂ − M₀)
                torch.add(course.start, moved, out=course.local)
            if self.finished(view):
                break
        return -course.outward(moved)

    def course(self, view: View, kept: Tensor | None) -> "Whole | Span":
        """What is trained: the model, or what its training on the auxiliary set comes to."""
        free = kept is None or bool(kept.all())
        span = Span.of(view.network, view.params, *view.wanted[:2]) if free else None
        return span or Whole(view, view.network.gradient, kept)

    def finished(self, view: View) -> bool:
        """Whether to end before the last epoch, asked after each; a `Whole` network is bound to M."""
        return False

    def lr(self, view: View) -> float:
        """η of this round."""
        return view.lr if self.local_lr is None else self.local_lr

    def ball(self, view: View) -> float:
        """The radius of the ball it trains in."""
        return self.radius(view)

    def confine(self, moved: Vector, view: View) -> None:
        """Back into the ball, in place: P(M̂ − M₀)."""
        if math.isfinite(radius := self.ball(view)):
            square = float(moved @ moved)  # a fraction of the exact norm's time, which only huge moves need
            length = math.sqrt(square) if _TINY < square < math.inf else float(norm_of(moved))
            if length > radius:
                moved.mul_(radius / length)


class Whole:
    """The model itself, trained on the auxiliary set."""

    def __init__(
        self, view: View, gradient: Callable[[Tensor, Tensor], Vector], kept: Tensor | None = None
    ) -> None:
        """`gradient` is taken at the bound network; `kept`, `[params]`, masks what may move."""
        self.inputs, self.labels, *_ = view.wanted
        self.start, self.local = view.params, view.params.clone()
        self._gradient, self._kept = gradient, kept
        view.network.bind(self.local)

    def gradient(self, examples: Tensor) -> Vector:
        """Attack gradient g at `local`, on the auxiliary points at these positions."""
        gradient = self._gradient(self.inputs[examples], self.labels[examples])
        return gradient if self._kept is None else gradient * self._kept

    def outward(self, moved: Vector) -> Vector:
        """A movement of `local` as a vector of all parameters."""
        return moved


def with_clean(view: View, inputs: Tensor, labels: Tensor) -> Vector:
    """The mean of the gradients on an auxiliary batch and on the attackers' own clean data."""
    clean = view.network.gradient(view.local.inputs, view.local.labels)
    return (view.network.gradient(inputs, labels) + clean) / 2

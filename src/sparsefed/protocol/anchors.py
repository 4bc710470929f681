"""The anchor: what pulls the model back, in every round, to where training began.

Honest updates vanish once their points are fitted, hostile ones never do, so without an anchor the attack's
share of the model grows with the rounds, whatever the rule. A pull λη(θ − θ₀) bounds it for all rounds; see
`docs/anchor.md`. Weight decay toward the initial model is known from transfer learning (L2-SP: Li et al.,
2018); here it is the server's, after the rule, so that clients need not know of it.
"""

from abc import abstractmethod
from typing import ClassVar

import torch
from pydantic import Field

from sparsefed.core.knobs import Knob, Knobs
from sparsefed.core.spec import Spec
from sparsefed.core.types import Vector

__all__ = ["Anchor", "InitialModel", "Unanchored"]


class Anchor(Spec, family=True):
    """A pull on the model. It has no memory: θ₀ is a function of the seed."""

    @abstractmethod
    def pulled(self, params: Vector, initial: Vector, lr: float) -> Vector:
        """θ after the pull of a round of rate λ = `lr`, as a new vector; `initial` is θ₀."""

    def check(self, lr: float) -> None:
        """Raises `ValueError` where the pull of the largest λ, `lr`, would overshoot."""


class Unanchored(Anchor):
    """No pull: θ itself."""

    def pulled(self, params: Vector, initial: Vector, lr: float) -> Vector:
        return params


class InitialModel(Anchor):
    """θ ← θ − λη(θ − θ₀), beside the rule's own step.

    Whatever the rounds, attackers who are a share p of the aggregate hold the model at most
    pL/(η(1 − μ)) away from where it would be, for a mean with momentum μ of updates no longer than L.
    """

    knobs: ClassVar[Knobs] = {"stiffness": Knob(1e-5, 1e-2, log=True)}

    stiffness: float = Field(gt=0)
    """η, per unit of λ; λη must not exceed 1. A model feels it after about 1/(λη) rounds."""

    def pulled(self, params: Vector, initial: Vector, lr: float) -> Vector:
        return torch.lerp(params, initial, lr * self.stiffness)

    def check(self, lr: float) -> None:
        if lr * self.stiffness > 1:
            needed = f"a stiffness of at most 1/λ, {1 / lr:.3g} for λ up to {lr:.3g}"
            raise ValueError(f"expected {needed}, found {self.stiffness:g}")

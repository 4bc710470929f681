"""An attack made for SparseFed: a coherent direction, thinly spread, that the error memory adds up.

Coherent mass in W grows like t, honest noise like √t; what is spread evenly over all coordinates stays
below the top k until it comes out at once.
"""

from typing import ClassVar, NamedTuple

import torch
from pydantic import Field

from sparsefed.attacks.base import fit_to
from sparsefed.attacks.methods.pgd import PGD
from sparsefed.attacks.view import View
from sparsefed.core.types import Vector

__all__ = ["Drip", "SlowDrip"]


class Drip(NamedTuple):
    """What the attacker remembers: where it is going."""

    direction: Vector
    """A decaying mean of the unit vectors that PGD gave in past rounds."""


class SlowDrip(PGD):
    """Send every round the same slowly turning direction, flattened to equal steps on all coordinates."""

    collusive_memory: ClassVar[bool] = True

    inertia: float = Field(default=0.95, ge=0, lt=1)
    """What survives of the direction from one attack to the next."""
    flatness: float = Field(default=0.5, ge=0, le=1)
    """Exponent 1 − flatness on every coordinate's size: 0 sends the direction as it is, 1 its signs."""

    def init(self, params: Vector) -> Drip:
        return Drip(torch.zeros_like(params))

    def learn(self, view: View, generator: torch.Generator) -> Drip:
        step = fit_to(self.descend(view, generator), 1.0)
        return Drip(self.inertia * view.memory.direction + (1 - self.inertia) * step)

    def vector(self, view: View, generator: torch.Generator) -> Vector:
        direction = view.memory.direction
        return direction.sign() * direction.abs() ** (1 - self.flatness)

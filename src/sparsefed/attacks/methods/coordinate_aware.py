"""An attack made for SparseFed: all mass on the coordinates that the public models show to be moving.

The opposite of Neurotoxin (Zhang et al., 2022), which hides where honest clients do not move.
"""

from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from sparsefed.attacks.methods.pgd import PGD
from sparsefed.attacks.view import View
from sparsefed.core.errors import SpecError
from sparsefed.core.types import Vector
from sparsefed.kernels import top_k

__all__ = ["CoordinateAware", "Watch", "watched"]


class Watch(NamedTuple):
    """What an attacker remembers of the models that it was sent."""

    params: Vector
    """θ of the last round in which the attacker took part."""
    activity: Vector
    """The decaying sum of how far each coordinate has moved between such rounds."""
    rounds: Tensor
    """How many such rounds there were, int64 `[]`."""


class CoordinateAware(PGD):
    """PGD confined to the most active coordinates of the model, known from public broadcasts alone."""

    coordinates: int = Field(gt=0)
    """How many coordinates the attacker uses; the server's k is a good guess."""
    decay: float = Field(default=0.9, ge=0, lt=1)
    """What survives of the memory of past movement from one attack to the next."""

    def init(self, params: Vector) -> Watch:
        if self.coordinates > len(params):
            found = f"expected at most the model's {len(params)} parameters, found {self.coordinates}"
            raise SpecError(found, ["coordinates"], type(self).__name__)
        return Watch(torch.zeros_like(params), torch.zeros_like(params), torch.zeros((), dtype=torch.int64))

    def learn(self, view: View, generator: torch.Generator) -> Watch:
        return watched(view, self.decay)

    def vector(self, view: View, generator: torch.Generator) -> Vector:
        """As PGD, where nothing has been seen to move yet."""
        activity = view.memory.activity
        if not bool(activity.any()):
            return self.descend(view, generator)
        kept = torch.zeros_like(activity, dtype=torch.bool)
        kept[top_k(activity, self.coordinates)] = True
        return self.descend(view, generator, kept)


def watched(view: View, decay: float) -> Watch:
    """The memory after one more broadcast; `decay` is what survives of past movement."""
    params, activity, rounds = view.memory
    moved = (view.params - params).abs() if int(rounds) else torch.zeros_like(params)
    return Watch(view.params.clone(), decay * activity + moved, rounds + 1)

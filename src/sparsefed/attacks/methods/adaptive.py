"""The adaptive attack on SparseFed: PGD on the coordinates that are about to move (Algorithm 12)."""

from typing import ClassVar

import torch
from torch import Tensor

from sparsefed.attacks.methods.pgd import PGD
from sparsefed.attacks.view import Grant, View, lacks
from sparsefed.core.errors import UpdateError
from sparsefed.core.types import Vector

__all__ = ["Adaptive"]


class Adaptive(PGD):
    """PGD confined to the coordinates that the server would move in this round without any attacker.

    The mask is found by letting the server's own rule take its step on the honest updates: for
    SparseFed the k largest entries of W + ρR + mean in absolute value. A rule that moves every coordinate
    makes this plain PGD.
    """

    needs: ClassVar[Grant] = Grant.HONEST_UPDATES | Grant.SERVER_MEMORY

    def vector(self, view: View, generator: torch.Generator) -> Vector:
        return self.descend(view, generator, kept=next_moved(view))


def next_moved(view: View) -> Tensor | None:
    """Mask of the coordinates that the honest updates alone would move; None if the rule refuses them."""
    if view.server is None or view.honest is None:
        raise lacks(Grant.HONEST_UPDATES | Grant.SERVER_MEMORY, "to foresee a step")
    try:
        delta, _ = view.server.defense.step(view.honest, view.server.memory, view.server_lr)
    except UpdateError:
        return None
    return delta != 0

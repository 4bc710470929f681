"""An attack made for the anchor: the budget goes to the points that resist least, none to those that are won.

Whatever can be held at an equilibrium is a fixed amount. Spread over all points it may win none of them.
"""

import torch
from pydantic import Field

from sparsefed.attacks.methods.pgd import PGD
from sparsefed.attacks.view import View
from sparsefed.core.types import Vector

__all__ = ["EasiestFirst"]


class EasiestFirst(PGD):
    """PGD on the auxiliary points that are nearest to the label that the attackers want."""

    at_once: int = Field(default=20, gt=0)
    """How many points are pushed in a round."""
    safe: float = Field(default=1.0, ge=0)
    """Lead of the wanted logit from which on a point counts as won, and is left alone until it falls back."""

    def vector(self, view: View, generator: torch.Generator) -> Vector:
        chosen = self.chosen(view)
        return self.descend(view._replace(auxiliary=view.wanted.part(chosen)), generator)

    def chosen(self, view: View) -> torch.Tensor:
        """The points of this round, by position; all of them once every point is won, or for a text."""
        inputs, labels = view.wanted[:2]
        view.network.bind(view.params)
        with view.network.evaluating():
            logits = view.network.module(inputs)
        everything = torch.arange(len(labels), device=labels.device)
        if labels.ndim > 1:
            return everything
        wanted = logits.gather(1, labels[:, None])
        others = logits.scatter(1, labels[:, None], -torch.inf).amax(1, keepdim=True)
        lead = (wanted - others).squeeze(1)
        open_points = everything[lead < self.safe]
        if len(open_points) == 0:
            return everything
        return open_points[lead[open_points].argsort(descending=True, stable=True)[: self.at_once]]

"""PGD that looks farther than it may send."""

from pydantic import Field

from sparsefed.attacks.methods.pgd import PGD
from sparsefed.attacks.view import View
from sparsefed.core.types import Vector

__all__ = ["FarPGD"]


class FarPGD(PGD):
    """PGD inside a ball of radius `reach` · L, brought back to L for the upload.

    Near θ the steepest way to the wrong labels changes from round to round; the way to a model that is far
    enough to have them all does not, so that its steps add up. Where clients send gradients, L is far for
    plain PGD already: a round moves the model by λL at most. Where they train, and the clip is λL, it is not.
    """

    reach: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    """How far it looks, as a multiple of what it may send."""

    def confine(self, moved: Vector, view: View) -> None:
        whole = self if self.norm is None else self.but(norm=self.reach * self.norm)
        PGD.confine(whole, moved, view._replace(clip_norm=self.reach * view.clip_norm))

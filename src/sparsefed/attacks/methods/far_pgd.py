"""PGD that looks farther than it may send."""

from pydantic import Field

from sparsefed.attacks.methods.pgd import PGD
from sparsefed.attacks.view import View

__all__ = ["FarPGD"]


class FarPGD(PGD):
    """PGD inside a ball of radius `reach` · L, brought back to L for the upload.

    Where clients send gradients, L is far for plain PGD already: a round moves the model by λL at most. Where
    they train, and the clip is λL, it is not.
    """

    reach: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    """How far it looks, as a multiple of what it may send."""

    def ball(self, view: View) -> float:
        return self.reach * super().ball(view)

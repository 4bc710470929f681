"""A little is enough (Baruch et al., NeurIPS 2019), as published and against the actual rule."""

from statistics import NormalDist

from pydantic import Field

from sparsefed.attacks.methods.deviation import AgainstRule, Deviation, spread_of
from sparsefed.attacks.view import View
from sparsefed.core.types import Vector
from sparsefed.protocol.updates import Updates

__all__ = ["ALIE", "OptimizedALIE", "supporters_z"]


class ALIE(Deviation):
    """The honest mean minus z standard deviations on every coordinate (Algorithm 3).

    Small enough to look more typical than many honest updates, the same in every round. The paper's
    attackers estimate mean and deviation from their own devices; these see the honest updates.
    """

    z: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """How many standard deviations. If not given, the paper's z_max: the farthest that leaves enough honest
    clients still farther away to make a majority with the attackers."""

    def direction(self, honest: Updates) -> Vector:
        return -spread_of(honest)

    def size(self, view: View, honest: Updates, direction: Vector) -> float:
        return supporters_z(view.cohort, view.uploads) if self.z is None else self.z


class OptimizedALIE(AgainstRule, ALIE):
    """`ALIE` with the z that has the most effect on the server's rule in this round."""


def supporters_z(clients: int, attackers: int) -> float:
    """z_max: the z below which (n − m − s) / (n − m) of a normal lies, with s = ⌊n/2 + 1⌋ − m supporters."""
    honest = clients - attackers
    supporters = clients // 2 + 1 - attackers
    share = min(max((honest - supporters) / max(honest, 1), 1e-9), 1 - 1e-9)
    return max(NormalDist().inv_cdf(share), 1e-3)

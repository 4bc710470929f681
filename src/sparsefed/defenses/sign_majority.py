"""signSGD with majority vote (Bernstein et al., ICML 2018; ICLR 2019)."""

from typing import ClassVar

from sparsefed.core.types import Vector
from sparsefed.defenses.base import Aggregate, finite_rows
from sparsefed.defenses.cost import Cost
from sparsefed.protocol.updates import Updates

__all__ = ["SignMajority"]


class SignMajority(Aggregate):
    """sign Σ sign uᵢ: every client has one vote on every coordinate, and each step has length λ there.

    A coordinate goes the attackers' way only where they and the honest clients who happen to agree outvote
    the rest; of a draw nothing comes. λ is of another size than for rules that average.
    """

    needs_rows: ClassVar[bool] = True
    cost: ClassVar[Cost] = Cost("nd", "nd", sums=1)

    def aggregate(self, updates: Updates) -> Vector:
        return finite_rows(self, updates, least=1).rows().sign().sum(dim=0).sign()

    def traffic(self, params: int) -> tuple[int, int]:
        """A bit per parameter and way, counted in numbers of 32 bits."""
        words = -(-params // 32)
        return words, words

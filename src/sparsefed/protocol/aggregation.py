"""Who adds up the updates, and what the server of the rule gets to see of them."""

from abc import abstractmethod
from typing import Self

from pydantic import Field

from sparsefed import secagg
from sparsefed.core.errors import SpecError, UpdateError
from sparsefed.core.spec import Spec
from sparsefed.core.text import amount
from sparsefed.protocol.clips import Clip, QuantileClip, Unclipped
from sparsefed.protocol.sealed import Sealed, Summed, fixed_point_sum, verified_sum
from sparsefed.protocol.updates import Updates
from sparsefed.secagg import Parameters

__all__ = ["Aggregation", "Pine", "Plain", "VerifiedPine"]


class Aggregation(Spec, family=True):
    """How a round's updates get from the clients to the rule."""

    @abstractmethod
    def seen(self, updates: Updates, clip_norm: float) -> Updates:
        """What the rule is given of a round's updates, none of which is longer than `clip_norm`."""

    def check(self, clip: Clip, rule: Spec, one_by_one: bool) -> None:
        """Raises `SpecError` where clip or rule need what the server does not get to see.

        `one_by_one` says whether the rule looks at single updates.
        """

    def bytes_up(self, numbers: int, word: int) -> int:
        """Bytes that a client sends for so many numbers of `word` bytes each."""
        return numbers * word

    def verified(self) -> Self:
        """The same with the real protocol in every round; raises `SpecError` where there is none."""
        raise SpecError(f"expected an aggregation with a protocol to run, such as Pine, found {self!r}")


class Plain(Aggregation):
    """Every update is sent to the server, which clips it."""

    def seen(self, updates: Updates, clip_norm: float) -> Updates:
        return updates


class Pine(Aggregation):
    """Two servers add up shares of updates that neither sees, each proven to be no longer than the clip norm.

    A device clips its own update, rounds it to fixed point and proves its norm (Rothblum et al., 2023); see
    `docs/secagg.md`. A run computes the sum of the rounded updates, which is the sum that the protocol gives,
    without running it. Compromised clients clip, too: what is longer is rejected, not shortened. Rules that
    look at single updates are refused.
    """

    bits: int = Field(default=24, ge=8, le=24)
    """Bits of the clip norm in fixed point: a coordinate is rounded by at most 2^(1 − bits) of the norm."""
    min_batch: int = Field(default=2, ge=2)
    """The fewest updates whose sum is released; a round of fewer is skipped."""

    def seen(self, updates: Updates, clip_norm: float) -> Updates:
        if updates.count < self.min_batch:
            found = f"expected at least {amount(self.min_batch, 'update')} to add up, found {updates.count}"
            raise UpdateError(f"{self!r}: {found}")
        return Sealed(updates, clip_norm, self.bits, self._sum())

    def check(self, clip: Clip, rule: Spec, one_by_one: bool) -> None:
        if one_by_one:
            why = "looks at single updates, and under secure aggregation no server sees one"
            raise SpecError(f"expected a rule of the sum of updates; {rule!r} {why}", ["defense"])
        if isinstance(clip, Unclipped | QuantileClip):
            found = f"found {clip!r}, which {'has none' if isinstance(clip, Unclipped) else 'asks for norms'}"
            raise SpecError(f"expected a clip whose norm is known before the round, {found}", ["clip"])

    def bytes_up(self, numbers: int, word: int) -> int:
        """The public part and both shares, whatever the numbers are."""
        return sum(secagg.Pine(Parameters(dimension=numbers, bound=2**self.bits - 1)).sizes[:3])

    def verified(self) -> "VerifiedPine":
        return VerifiedPine(**dict(self))

    def _sum(self) -> Summed:
        return fixed_point_sum


class VerifiedPine(Pine):
    """As `Pine`, but the protocol runs: shares, proofs and both servers, for every update of every round.

    The results are the same. A client takes about as long as the table of `benchmarks/results` says.
    """

    def verified(self) -> "VerifiedPine":
        return self

    def _sum(self) -> Summed:
        return verified_sum

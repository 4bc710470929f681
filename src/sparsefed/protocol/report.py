"""What became of each client's update in a round, under the caller's own names for the clients."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from sparsefed.core.errors import UpdateError
from sparsefed.core.types import PerClient

__all__ = ["ClientReport", "Roll"]


class ClientReport(NamedTuple):
    """One client's update in one round."""

    client: Any
    """The caller's own id, or the position in the list of updates."""
    norm: float
    """ℓ2 norm as sent; NaN where there is none."""
    clip: float
    """What the clip multiplied the update with: 1 for one let in as it came, 0 for one left out."""
    share: float
    """How much of it the rule took into the aggregate, from 0 to 1; NaN if the rule was not asked."""
    problem: str
    """Why it was left out; empty if it was let in."""
    weight: float = math.nan
    """Its part of the weight of all that were let in, from 0 to 1; NaN if there are no weights."""
    skipped: bool = False
    """Whether the round was skipped, so that nothing of it was used."""

    def __str__(self) -> str:
        if self.problem:
            return f"{self.client}: left out: {self.problem}"
        clipped = f"clipped to {self.clip:.3g} of its norm {self.norm:.4g}" if self.clip < 1 else "accepted"
        if self.skipped:
            return f"{self.client}: {clipped}, not used: the round was skipped"
        used = "" if math.isnan(self.share) else f", {100 * self.share:.3g} % of it in the aggregate"
        counts = "" if math.isnan(self.weight) else f", with {100 * self.weight:.3g} % of the weight"
        return f"{self.client}: {clipped}{used}{counts}"


class Roll(NamedTuple):
    """Who has sent something, who is still in, and why the others are not."""

    clients: Sequence[Any]
    """Ids, in the caller's order."""
    present: np.ndarray
    """Position in `clients` of each row that is still in."""
    sent: PerClient | None
    """Norms of those rows as they were sent; None while nothing has changed them."""
    left_out: dict[int, tuple[float, str]]
    """Position of each client that was left out: its norm, and why."""

    def only(self, keep: np.ndarray, norms: PerClient) -> "Roll":
        """The roll after the rows where `keep` is false, of the given norms, were left out as not finite."""
        sent = norms if self.sent is None else self.sent
        why = "expected finite numbers, found NaN or infinity"
        out = {int(self.present[row]): (float(norms[row]), why) for row in np.flatnonzero(~keep)}
        return Roll(self.clients, self.present[keep], sent[keep], {**self.left_out, **out})

    def reports(
        self, norms: PerClient, shares: PerClient | None, weights: PerClient | None = None
    ) -> list[ClientReport]:
        """One line for each client, given the norms now, the rule's shares and the weights."""
        unknown = torch.full_like(norms, math.nan)
        used, weights = (unknown if part is None else part for part in (shares, weights))
        if len(used) != len(norms):
            raise UpdateError(f"expected a share for each of {len(norms)} updates let in, found {len(used)}")
        sent = norms if self.sent is None else self.sent
        clips = torch.where(sent > 0, norms / sent, 1.0)
        columns = (part.tolist() for part in (self.present, sent, clips, used, weights))
        lines = {
            at: ClientReport(self.clients[at], norm, clip, share, "", weight)
            for at, norm, clip, share, weight in zip(*columns, strict=True)
        }
        for at, (norm, why) in self.left_out.items():
            lines[at] = ClientReport(self.clients[at], norm, 0.0, 0.0, why)
        return [lines[at] for at in range(len(self.clients))]

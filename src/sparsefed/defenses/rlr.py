"""RLR, the robust learning rate: steps turn round where too few clients agree (Ozdayi et al., AAAI 2021)."""

from typing import ClassVar

import torch
from pydantic import Field

from sparsefed.core.knobs import Knob, Knobs
from sparsefed.core.types import Vector
from sparsefed.defenses.base import Aggregate, check_count, finite_mean
from sparsefed.defenses.cost import Cost
from sparsefed.protocol.updates import Updates

__all__ = ["RLR"]


class RLR(Aggregate):
    """The mean, reversed on every coordinate where the signs of the updates add up to less than a threshold.

    A backdoor of m clients that no one else touches has at most m votes; the rule climbs there instead of
    descending. The threshold must lie above the number of attackers and below that of honest clients.
    Weights count in the mean, never in the vote. Needs as many updates as the threshold.
    """

    needs_rows: ClassVar[bool] = True
    cost: ClassVar[Cost] = Cost("nd", "nd", sums=2)
    knobs: ClassVar[Knobs] = {**Aggregate.knobs, "threshold": Knob(0.02, 0.6, share_of="cohort")}

    threshold: int = Field(gt=0)
    """θ, how many more clients must pull a coordinate one way than the other."""

    @property
    def least(self) -> int:
        return self.threshold

    def aggregate(self, updates: Updates) -> Vector:
        check_count(self, updates, self.least)
        mean = finite_mean(self, updates)
        votes = updates.rows().sign().sum(dim=0).abs()
        return torch.where(votes >= self.threshold, mean, -mean)

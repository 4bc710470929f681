"""What may stand in front of any rule: bucketing, nearest-neighbor mixing, adaptive robust clipping."""

from abc import abstractmethod
from collections import namedtuple
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from sparsefed.core.knobs import Knob, Knobs
from sparsefed.core.seeds import Stream, rng
from sparsefed.core.types import PerClient, Vector
from sparsefed.defenses.base import Defense, check_count, check_size, check_unweighted, finite_distances
from sparsefed.defenses.cost import Cost
from sparsefed.defenses.median import Median
from sparsefed.protocol.updates import Dense, Updates

__all__ = ["ARC", "NNM", "Before", "Bucketing"]


@lru_cache
def _memory(kind: Any) -> Any:
    """The memory of a rule whose own memory is of type `kind`, with the run's seed and the rounds done."""
    made = namedtuple("InFront", [*(f"rule_{name}" for name in kind._fields), "seed", "round"])
    made.rule = staticmethod(lambda state: kind(*state[:-2]))  # pyright: ignore[reportAttributeAccessIssue]
    return made


class Before(Defense):
    """Changes the updates of a round and hands them to another rule."""

    rule: Defense = Median()
    """The rule that gets the changed updates."""

    @property
    def least(self) -> int:
        return self.rule.least

    @property
    def server_examples(self) -> int:
        return self.rule.server_examples

    @abstractmethod
    def changed(self, updates: Updates, seed: int, round: int) -> Updates:
        """What the rule gets in round t = `round` of a run with that `seed`."""

    def init(self, params: Vector, seed: int = 0) -> Any:
        memory = self.rule.init(params, seed)
        return _memory(type(memory))(*memory, torch.tensor(seed), torch.tensor(0))

    def step(self, updates: Updates, state: Any, lr: float = 1.0) -> tuple[Vector, Any]:
        check_size(self, updates, getattr(updates, "size", 0))
        check_unweighted(self, updates)
        handed = self._handed(updates, int(state.seed), int(state.round) + 1)
        delta, memory = self.rule.step(handed, state.rule(state), lr)
        return delta, type(state)(*memory, state.seed, state.round + 1)

    def shares_in_round(self, updates: Updates, state: Any) -> PerClient:
        seed, round = int(state.seed), int(state.round)
        shares = self.rule.shares_in_round(self._handed(updates, seed, round), state.rule(state))
        return shares[self.came_to(updates.count, seed, round)]

    def _handed(self, updates: Updates, seed: int, round: int) -> Updates:
        """The changed updates, with what the server still knows about them."""
        changed = self.changed(updates, seed, round)
        who = updates.aside.clients if changed.count == updates.count else None
        changed.aside = updates.aside._replace(clients=who)
        return changed

    def came_to(self, count: int, seed: int, round: int) -> np.ndarray:
        """Which of the changed updates each client's has become."""
        return np.arange(count)


class Bucketing(Before):
    """The means of random groups of s updates (Karimireddy, He and Jaggi, ICLR 2022).

    Groups are nearer to each other than clients are, so that a rule that compares can tell attackers from
    honest clients with unlike data; every group with an attacker in it is bad, so the rule's f counts groups.
    """

    needs_rows: ClassVar[bool] = True
    cost: ClassVar[Cost] = Cost("nd, and the rule's for n/s", "nd, and the rule's for n/s", sums=None)
    knobs: ClassVar[Knobs] = {}

    size: int = Field(default=2, gt=0)
    """s, how many updates are averaged in a group; the last group may be smaller."""

    @property
    def least(self) -> int:
        return (self.rule.least - 1) * self.size + 1

    def changed(self, updates: Updates, seed: int, round: int) -> Updates:
        check_count(self, updates, self.least)
        rows, group = updates.rows(), self.came_to(updates.count, seed, round)
        places = [torch.from_numpy(np.flatnonzero(group == i)) for i in range(group.max(initial=-1) + 1)]
        means = [rows[place.to(rows.device)].mean(dim=0) for place in places]
        return Dense(torch.stack(means) if means else rows)

    def came_to(self, count: int, seed: int, round: int) -> np.ndarray:
        order = rng(seed, Stream.SERVER, round).permutation(count)
        group = np.empty(count, np.int64)
        group[order] = np.arange(count) // self.size
        return group


class NNM(Before):
    """Every update becomes the mean of the n − f nearest, itself included (Allouah et al., AISTATS 2023).

    Needs n ≥ 2f + 1 updates. Of updates at equal distance the first clients count.
    """

    needs_rows: ClassVar[bool] = True
    cost: ClassVar[Cost] = Cost("n²d, and the rule's", "nd, and the rule's", sums=None)
    knobs: ClassVar[Knobs] = {"f": Knob(0.01, 0.45, share_of="cohort")}

    f: int = Field(ge=0)
    """How many compromised clients a round is expected to have."""

    @property
    def least(self) -> int:
        return max(2 * self.f + 1, self.rule.least)

    def changed(self, updates: Updates, seed: int, round: int) -> Updates:
        distances = finite_distances(self, updates, least=2 * self.f + 1)
        count = len(distances) - self.f
        near = np.argsort(distances, axis=1, kind="stable")[:, :count]
        mixing = np.zeros_like(distances)
        np.put_along_axis(mixing, near, 1 / count, axis=1)
        rows = updates.rows()
        return Dense(torch.from_numpy(mixing).to(rows) @ rows)


class ARC(Before):
    """The ⌊2f(n − f)/n⌋ longest updates are cut to the length of the next (Allouah et al., ICLR 2025).

    The bound follows the round's norms, so it is never above what an honest client sent and cuts none
    of a round in which all are alike. Needs n ≥ 2f + 1 updates.
    """

    @property
    def needs_rows(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether the rule behind does; norms will do for this one."""
        return self.rule.needs_rows

    cost: ClassVar[Cost] = Cost("nd, and the rule's", "d, and the rule's", sums=None)
    knobs: ClassVar[Knobs] = {"f": Knob(0.01, 0.45, share_of="cohort")}

    f: int = Field(ge=0)
    """How many compromised clients a round is expected to have."""

    @property
    def least(self) -> int:
        return max(2 * self.f + 1, self.rule.least)

    def changed(self, updates: Updates, seed: int, round: int) -> Updates:
        check_count(self, updates, 2 * self.f + 1)
        norms = updates.norms().sort(descending=True).values
        bound = float(norms[2 * self.f * (updates.count - self.f) // updates.count])
        return updates.admitted(bound) if bound > 0 else Dense(torch.zeros_like(updates.rows()))

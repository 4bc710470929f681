"""FoolsGold: clients whose histories are too much alike lose their weight (Fung et al., RAID 2020)."""

from typing import ClassVar, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from sparsefed.core.errors import UpdateError
from sparsefed.core.knobs import Knob, Knobs
from sparsefed.core.text import amount
from sparsefed.core.types import Matrix, PerClient, Vector
from sparsefed.defenses.base import Defense, as_precise, check_size, finite_rows
from sparsefed.defenses.cost import Cost
from sparsefed.kernels import gram, row_norms
from sparsefed.protocol.updates import Updates

__all__ = ["FoolsGold", "Histories"]


class Histories(NamedTuple):
    """What FoolsGold remembers."""

    velocity: Vector
    """R, the decaying sum of past aggregates."""
    histories: Matrix
    """H, the sum of everything that each client of the population has sent, `[clients, params]`."""


class FoolsGold(Defense):
    """Algorithm 1: the mean of αᵢuᵢ, where α falls with the largest cosine between two histories.

    Made for one goal shared by many identities (sybils); a lone attacker passes, and so do honest clients
    who all differ. The listing's sum over clients is divided by their number, so that α = 1 is the mean.
    Needs each client's identity and 2 updates; all features count as indicative.
    """

    needs_rows: ClassVar[bool] = True
    needs_history: ClassVar[bool] = True
    cost: ClassVar[Cost] = Cost("n²d", "nd + clients · d", sums=None)
    knobs: ClassVar[Knobs] = {"momentum": Knob(0, 0.95), "confidence": Knob(0.25, 4, log=True)}

    clients: int = Field(default=100, gt=0)
    """The size of the population: so many histories are kept."""
    confidence: float = Field(default=1.0, gt=0)
    """κ, how sharply the weights are driven to 0 or 1."""
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """ρ, the share of the velocity that survives a round."""

    @property
    def least(self) -> int:
        return 2

    def init(self, params: Vector, seed: int = 0) -> Histories:
        return Histories(torch.zeros_like(params), params.new_zeros(self.clients, params.numel()))

    def step(self, updates: Updates, state: Histories, lr: float = 1.0) -> tuple[Vector, Histories]:
        check_size(self, updates, state.velocity.numel())
        rows = finite_rows(self, updates, least=self.least)
        who = self._identities(updates)
        histories = state.histories.clone()
        histories[who] += rows.rows().to(histories)
        weights = self.weights(cosines(histories[who]))
        found = rows.weighted_sum(weights / rows.count)
        velocity = self.momentum * state.velocity + as_precise(self, found, state.velocity)
        return lr * velocity, Histories(velocity, histories)

    def shares_in_round(self, updates: Updates, state: Histories) -> PerClient:
        return torch.from_numpy(self.weights(cosines(state.histories[self._identities(updates)])))

    def _identities(self, updates: Updates) -> Tensor:
        who = updates.aside.clients
        expected = f"clients numbered from 0 to {self.clients - 1}, each once"
        if who is None:
            found = f"{amount(updates.count, 'update')} without numbers"
            raise UpdateError(f"{self!r}: expected {expected}, found {found}")
        strange = [f"client {name}" for name in who if not 0 <= name < self.clients]
        ids, times = np.unique(who, return_counts=True)
        strange += [f"client {name} more than once" for name in ids[times > 1]]
        if strange:
            raise UpdateError(f"{self!r}: expected {expected}, found {strange[0]}")
        return torch.from_numpy(np.asarray(who, np.int64))

    def weights(self, alike: np.ndarray) -> np.ndarray:
        """α of each client, in [0, 1], given the cosines of all pairs."""
        alike = alike.copy()
        np.fill_diagonal(alike, -np.inf)
        most = alike.max(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            pardon = np.where(most[None, :] > most[:, None], most[:, None] / most[None, :], 1.0)
            alpha = np.clip(1 - (alike * pardon).max(axis=1), 0.0, 1.0)
            alpha = alpha / alpha.max() if alpha.max() > 0 else alpha
            logits = self.confidence * (np.log(alpha / (1 - alpha)) + 0.5)
        return np.clip(logits, 0.0, 1.0)


def cosines(rows: Matrix) -> np.ndarray:
    """cos(rowᵢ, rowⱼ) of all pairs; 0 beside a row of zeros."""
    norms = row_norms(rows).clamp(min=torch.finfo(torch.float64).tiny)
    return gram((rows / norms[:, None]).to(rows)).cpu().numpy()

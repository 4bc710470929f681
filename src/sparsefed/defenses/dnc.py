"""DnC, divide and conquer: outliers along the direction of most variance are left out (NDSS 2021).

Shejwalkar and Houmansadr, "Manipulating the Byzantine", Algorithm 2.
"""

import math
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from sparsefed.core.errors import UpdateError
from sparsefed.core.knobs import Knob, Knobs
from sparsefed.core.seeds import Stream, rng
from sparsefed.core.types import Matrix, PerClient, Vector
from sparsefed.defenses.base import Defense, as_precise, check_size, finite_rows
from sparsefed.defenses.cost import Cost
from sparsefed.protocol.updates import Updates

__all__ = ["Drawn", "DnC"]


class Drawn(NamedTuple):
    """The memory of a rule that draws random numbers: what the next draw depends on is part of it."""

    velocity: Vector
    """R, the decaying sum of past aggregates."""
    seed: Tensor
    """The run's seed, one integer."""
    round: Tensor
    """How many rounds are done, one integer."""


class DnC(Defense):
    """On random coordinates, center the updates and drop the ⌈cf⌉ longest along the first singular vector.

    Averaged is who is kept in every iteration. Needs n ≥ 2f + 1 updates and that someone is left.
    """

    needs_rows: ClassVar[bool] = True
    cost: ClassVar[Cost] = Cost("iterations · n²b + nd", "nd", sums=None)
    knobs: ClassVar[Knobs] = {
        "momentum": Knob(0, 0.95),
        "f": Knob(0.01, 0.45, share_of="cohort"),
        "filter": Knob(0.5, 1.1),
    }

    f: int = Field(ge=0)
    """m, how many compromised clients a round is expected to have."""
    filter: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """c, how many updates are dropped for each of them."""
    iterations: int = Field(default=1, gt=0)
    """How many times coordinates are drawn."""
    coordinates: int = Field(default=10_000, gt=0)
    """b, how many coordinates are drawn; all where the model has fewer."""
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """ρ, the share of the velocity that survives a round."""

    @property
    def least(self) -> int:
        return 2 * self.f + 1

    def init(self, params: Vector, seed: int = 0) -> Drawn:
        return Drawn(torch.zeros_like(params), torch.tensor(seed), torch.tensor(0))

    def step(self, updates: Updates, state: Drawn, lr: float = 1.0) -> tuple[Vector, Drawn]:
        check_size(self, updates, state.velocity.numel())
        rows = finite_rows(self, updates, least=self.least)
        kept = self.kept(rows.rows(), int(state.seed), int(state.round) + 1)
        if len(kept) == 0:
            raise UpdateError(f"{self!r}: expected an update that every iteration keeps, found none")
        shares = torch.zeros(rows.count, dtype=torch.float64)
        shares[torch.from_numpy(kept)] = 1 / len(kept)
        mean = as_precise(self, rows.weighted_sum(shares), state.velocity)
        velocity = self.momentum * state.velocity + mean
        return lr * velocity, Drawn(velocity, state.seed, state.round + 1)

    def shares_in_round(self, updates: Updates, state: Drawn) -> PerClient:
        shares = torch.zeros(updates.count, dtype=torch.float64)
        shares[torch.from_numpy(self.kept(updates.rows(), int(state.seed), int(state.round)))] = 1.0
        return shares

    def kept(self, rows: Matrix, seed: int, round: int) -> np.ndarray:
        """Positions of the clients that no iteration drops, ascending."""
        draw, count = rng(seed, Stream.SERVER, round), len(rows) - math.ceil(self.filter * self.f)
        kept = np.arange(len(rows))
        for _ in range(self.iterations):
            size = min(self.coordinates, rows.shape[1])
            some = np.sort(draw.choice(rows.shape[1], size, replace=False))
            scores = outlyingness(rows[:, torch.from_numpy(some).to(rows.device)])
            best = np.argsort(scores.cpu().numpy(), kind="stable")[: max(count, 0)]
            kept = np.intersect1d(kept, best)
        return kept


def outlyingness(rows: Matrix) -> PerClient:
    """Each client's squared projection, after centering, on the direction of most variance, over σ₁²."""
    small = rows.double() / rows.abs().max().double().clamp(min=torch.finfo(torch.float64).tiny)
    centered = small - small.mean(dim=0)
    _, vectors = torch.linalg.eigh(centered @ centered.T)
    return vectors[:, -1].square()  # ⟨uᵢ − μ, v⟩ is σ₁ times the entry of the left singular vector

"""FLAME: cluster by angle, clip to the median length, add noise (Nguyen et al., USENIX Security 2022)."""

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field

from sparsefed.core.errors import UpdateError
from sparsefed.core.knobs import Knob, Knobs
from sparsefed.core.text import amount
from sparsefed.core.types import PerClient, Vector
from sparsefed.defenses.base import Defense, as_precise, check_size, finite_rows
from sparsefed.defenses.cost import Cost
from sparsefed.defenses.foolsgold import cosines
from sparsefed.defenses.noise import NoiseMemory, normal
from sparsefed.protocol.updates import Updates

__all__ = ["FLAME"]


class FLAME(Defense):
    """HDBSCAN on cosine distances keeps the densest majority; its mean gets noise of deviation λS.

    S is the median length of all updates, which also clips those that are kept. The listing compares local
    models; angles here are of updates, θ being common to all. Where no majority clusters, as honest clients
    of very different data may not, the round is skipped. Needs 3 updates.
    """

    needs_rows: ClassVar[bool] = True
    cost: ClassVar[Cost] = Cost("n²d", "nd + n²", sums=None)
    knobs: ClassVar[Knobs] = {"momentum": Knob(0, 0.95), "noise": Knob(1e-5, 1e-2, log=True)}

    noise: float = Field(default=0.001, ge=0, allow_inf_nan=False)
    """λ, the noise per coordinate of the mean as a multiple of the median length."""
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """ρ, the share of the velocity that survives a round."""

    @property
    def least(self) -> int:
        return 3

    def init(self, params: Vector, seed: int = 0) -> NoiseMemory:
        return NoiseMemory(torch.zeros_like(params), torch.tensor(seed), torch.tensor(0))

    def step(self, updates: Updates, state: NoiseMemory, lr: float = 1.0) -> tuple[Vector, NoiseMemory]:
        check_size(self, updates, state.velocity.numel())
        rows = finite_rows(self, updates, least=self.least)
        kept = self.shares(rows)
        length = float(rows.norms().quantile(0.5))
        short = rows.shortened(length) if length > 0 else rows
        mean = as_precise(self, short.weighted_sum(kept / kept.sum()), state.velocity)
        noisy = mean + self.noise * length * normal(state)
        velocity = self.momentum * state.velocity + noisy
        return lr * velocity, NoiseMemory(velocity, state.seed, state.round + 1)

    def shares(self, updates: Updates) -> PerClient:
        """1 for who is in the cluster; raises `UpdateError` where there is none."""
        mask = majority(1 - cosines(updates.rows()))
        if not mask.any():
            expected = f"a cluster of at least {updates.count // 2 + 1} of {amount(updates.count, 'update')}"
            raise UpdateError(f"{self!r}: expected {expected}, found none")
        return torch.from_numpy(mask.astype(np.float64))


def majority(distances: np.ndarray) -> np.ndarray:
    """Mask of the one cluster of more than half of the points, by HDBSCAN; of nobody if there is none."""
    from sklearn.cluster import HDBSCAN

    distances = np.clip(distances, 0, 2)
    np.fill_diagonal(distances, 0.0)
    model = HDBSCAN(
        min_cluster_size=len(distances) // 2 + 1,
        min_samples=1,
        metric="precomputed",
        allow_single_cluster=True,
        copy=True,  # pyright: ignore[reportArgumentType]
    )
    return model.fit(distances).labels_ == 0

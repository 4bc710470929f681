"""Weak differential privacy: the mean with Gaussian noise (Sun et al., 2019; Appendix B.2.1)."""

import math
from typing import ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from sparsefed.core.knobs import Knob, Knobs
from sparsefed.core.seeds import Stream, torch_generator
from sparsefed.core.types import Vector
from sparsefed.defenses.base import Defense, check_size, check_unweighted, finite_mean
from sparsefed.defenses.privacy import Exposure, Guarantee, gaussian_guarantee
from sparsefed.protocol.updates import Updates

__all__ = ["GaussianNoise", "LiteralNoise", "NoiseMemory", "normal"]


class NoiseMemory(NamedTuple):
    """The memory of a noisy mean: what the next round's noise depends on is part of it."""

    velocity: Vector
    """R, the decaying sum of past noisy means."""
    seed: Tensor
    """The run's seed, one integer."""
    round: Tensor
    """How many rounds are done, one integer."""


class GaussianNoise(Defense):
    """The sum of a round's updates plus N(0, σ²) per coordinate, over its n clients; then server momentum.

    n counts clients whose update was rejected, too: theirs count as zeros, and no client can change the noise
    by having itself rejected. Together with a clip this is the Gaussian mechanism;
    `sparsefed.defenses.privacy` says what it guarantees.
    The paper names σ without saying where it goes; of the readings only this one has a magnitude that
    a model survives.
    """

    knobs: ClassVar[Knobs] = {"momentum": Knob(0, 0.95), "sigma": Knob(1e-3, 1, log=True)}

    needs_updates: ClassVar[bool] = False  # a round of rejected updates has its noise like any other

    sigma: float = Field(ge=0, allow_inf_nan=False)
    """σ, the standard deviation of the noise per coordinate of the *sum* of a round's updates."""
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """ρ, the share of the velocity that survives a round."""

    def init(self, params: Vector, seed: int = 0) -> NoiseMemory:
        return NoiseMemory(torch.zeros_like(params), torch.tensor(seed), torch.tensor(0))

    def step(self, updates: Updates, state: NoiseMemory, lr: float = 1.0) -> tuple[Vector, NoiseMemory]:
        check_size(self, updates, state.velocity.numel())
        check_unweighted(self, updates)
        noisy = self._mean(updates, state.velocity) + self.deviation(clients_of(updates)) * normal(state)
        velocity = self.momentum * state.velocity + noisy  # R ← ρR + u + N(0, (σ/n)²)
        return lr * velocity, NoiseMemory(velocity, state.seed, state.round + 1)

    def _mean(self, updates: Updates, like: Vector) -> Vector:
        """Σu / n, where n counts those whose update was rejected."""
        if updates.count == 0 < clients_of(updates):
            return torch.zeros_like(like)
        return finite_mean(self, updates, like) * (updates.count / clients_of(updates))

    def deviation(self, clients: int) -> float:
        """Standard deviation per coordinate of the noise in a round of so many clients."""
        return self.sigma / clients

    def privacy(self, exposure: Exposure, delta: float = 1e-5) -> Guarantee:
        multiplier = 0.0
        if self.sigma > 0 and math.isfinite(exposure.clip_norm):
            multiplier = self.multiplier(exposure.clip_norm, exposure.cohort, exposure.lr)
        return gaussian_guarantee(multiplier, exposure, delta)

    def multiplier(self, clip_norm: float, clients: int, lr: float) -> float:
        """Noise over what one participation of one client can change, in the whole run's releases."""
        return self.sigma / clip_norm

    def diagnose(
        self,
        updates: Updates,
        state: NoiseMemory,
        delta: Vector,
        lr: float = 1.0,
        honest: int | None = None,
    ) -> dict[str, float]:
        """As for every defense, and `noise_norm`: the ℓ2 norm to expect of the round's noise vector."""
        report = super().diagnose(updates, state, delta, lr, honest)
        return report | {"noise_norm": self.deviation(clients_of(updates)) * math.sqrt(delta.numel())}


class LiteralNoise(GaussianNoise):
    """N(0, σ²) on the finished step, after momentum and λ: the literal reading, and the released code's.

    The noise does not enter the velocity. At the paper's σ and model size it drowns the updates.
    """

    sigma: float = Field(ge=0, allow_inf_nan=False)
    """σ, the standard deviation of the noise per coordinate of the step, whatever n and λ are."""

    def step(self, updates: Updates, state: NoiseMemory, lr: float = 1.0) -> tuple[Vector, NoiseMemory]:
        check_size(self, updates, state.velocity.numel())
        check_unweighted(self, updates)
        velocity = self.momentum * state.velocity + self._mean(updates, state.velocity)
        delta = lr * velocity + self.sigma * normal(state)  # θ ← θ − λR − N(0, σ²)
        return delta, NoiseMemory(velocity, state.seed, state.round + 1)

    def deviation(self, clients: int) -> float:
        return self.sigma

    def multiplier(self, clip_norm: float, clients: int, lr: float) -> float:
        """A lower bound: an update changes later steps through the velocity, at most 1 / (1 − ρ) times over.

        Only a client of every round comes near that. Where its rounds lie far apart, one update changes the
        steps by 1 / √(1 − ρ²) in all, so this multiplier is up to √((1 + ρ) / (1 − ρ)) times too small: 1.7
        for ρ = 0.5, 4.4 for ρ = 0.9.
        """
        return self.sigma * clients * (1 - self.momentum) / (lr * clip_norm)


def clients_of(updates: Updates) -> int:
    """n, the clients of a round; those whose update is there where nobody has counted the others."""
    return updates.count if updates.aside.cohort is None else updates.aside.cohort


def normal(state: NoiseMemory) -> Vector:
    """The standard normal vector of a seed and a round."""
    velocity = state.velocity
    generator = torch_generator(int(state.seed), Stream.SERVER, int(state.round) + 1, device=velocity.device)
    return torch.randn(velocity.shape, generator=generator, dtype=velocity.dtype, device=velocity.device)

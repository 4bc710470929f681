"""CRFL: the model is clipped and perturbed after every round (Xie, Chen, Chen and Li, ICML 2021)."""

from typing import ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from sparsefed.core.knobs import Knob, Knobs
from sparsefed.core.types import Vector
from sparsefed.defenses.base import Defense, check_size, finite_mean
from sparsefed.defenses.cost import Cost
from sparsefed.defenses.noise import NoiseMemory, normal
from sparsefed.kernels import norm_of
from sparsefed.protocol.updates import Updates

__all__ = ["CRFL", "Smoothed"]


class Smoothed(NamedTuple):
    """What CRFL remembers."""

    clipped: Vector
    """θ̃, the model after the clip and before the noise: what its smoothed classifier is made of."""
    velocity: Vector
    """R, the decaying sum of past means."""
    seed: Tensor
    """The run's seed, one integer."""
    round: Tensor
    """How many rounds are done, one integer."""


class CRFL(Defense):
    """θ̃ ← θ / max(1, ‖θ‖ / ρ_t) and θ ← θ̃ + N(0, σ²), where ρ_t = norm + growth · t (Algorithm 1).

    The clip is on the model itself and not on its distance from θ₀, so models that need long parameters
    suffer, and nothing else may move the model: no anchor. The paper adds no noise after the last round:
    its classifier is the vote of noisy copies of θ̃, which the memory keeps.
    """

    cost: ClassVar[Cost] = Cost("nd", "d", sums=1)
    knobs: ClassVar[Knobs] = {
        "momentum": Knob(0, 0.95),
        "norm": Knob(1, 100, log=True),
        "sigma": Knob(1e-4, 0.1, log=True),
    }

    norm: float = Field(gt=0, allow_inf_nan=False)
    """ρ, the ℓ2 length of the parameters that is allowed before the first round."""
    growth: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """By how much the allowed length grows in every round."""
    sigma: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    """σ, the standard deviation of the noise per parameter."""
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """ρ of the velocity, the share that survives a round."""

    def init(self, params: Vector, seed: int = 0) -> Smoothed:
        """θ₀ is neither clipped nor perturbed."""
        return Smoothed(params.clone(), torch.zeros_like(params), torch.tensor(seed), torch.tensor(0))

    def step(self, updates: Updates, state: Smoothed, lr: float = 1.0) -> tuple[Vector, Smoothed]:
        check_size(self, updates, state.velocity.numel())
        velocity = self.momentum * state.velocity + finite_mean(self, updates, state.velocity)
        before, round = self.model(state), state.round + 1
        moved = before - lr * velocity
        allowed = self.norm + self.growth * int(round)
        clipped = moved / max(1.0, float(norm_of(moved)) / allowed)
        after = Smoothed(clipped, velocity, state.seed, round)
        return before - self.model(after), after

    def model(self, state: Smoothed) -> Vector:
        """θ, as everyone was sent it: θ̃ with its round's noise."""
        if int(state.round) == 0:
            return state.clipped
        noise = normal(NoiseMemory(state.clipped, state.seed, state.round - 1))
        return state.clipped + self.sigma * noise

"""SparseFed: only the top k coordinates of the error-corrected aggregate move the model (Algorithms 1 and 5).

Where the two listings and the text disagree, see `docs/deviations.md`.
"""

import math
from typing import ClassVar, NamedTuple

import torch
from pydantic import Field

from sparsefed.core.errors import SpecError
from sparsefed.core.knobs import Knob, Knobs
from sparsefed.core.text import amount
from sparsefed.core.types import Vector
from sparsefed.defenses.base import Defense, check_size, finite_mean
from sparsefed.defenses.masking import Masking, ZeroMasking
from sparsefed.kernels import accumulate, top_k
from sparsefed.protocol.updates import Updates

__all__ = ["Memory", "SparseFed"]


class Memory(NamedTuple):
    """What SparseFed remembers between rounds."""

    velocity: Vector
    """R."""
    error: Vector
    """W, everything aggregated that has not moved the model yet."""


class SparseFed(Defense):
    """Global top-k sparsification with error feedback and momentum factor masking."""

    knobs: ClassVar[Knobs] = {
        "momentum": Knob(0, 0.95),
        "k": Knob(1e-4, 0.1, log=True, share_of="params"),
        "error_decay": Knob(0.9, 1),
    }

    k: int = Field(gt=0)
    """How many coordinates move in a round."""
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """ρ, the share of the velocity that survives a round.

    The error takes in the velocity (Algorithm 5). Algorithm 1 feeds it the bare update and never uses
    the velocity it computes: that is ρ = 0.
    """
    masking: Masking = ZeroMasking()
    """What becomes of the velocity where the model has moved."""
    error_decay: float = Field(default=1.0, ge=0, le=1)
    """β, the share of the error that survives a round: W ← βW + R (Wu et al., 2018, ECQ-SGD).

    1 is error feedback that forgets nothing, as published: what the top k holds back waits until it is
    large enough, however long that takes. Below 1, a steady push of length f makes at most f/(1 − β) wait.
    """
    lr_in_error: bool = False
    """Whether λ multiplies what enters the error (Algorithms 2 and 10) or what leaves it (1 and 5)."""

    def init(self, params: Vector, seed: int = 0) -> Memory:
        if self.k > params.numel():
            found = f"expected at most the model's {amount(params.numel(), 'parameter')}, found {self.k}"
            raise SpecError(found, ["k"], type(self).__name__)
        return Memory(torch.zeros_like(params), torch.zeros_like(params))

    def step(self, updates: Updates, state: Memory, lr: float = 1.0) -> tuple[Vector, Memory]:
        check_size(self, updates, state.velocity.numel())
        mean = finite_mean(self, updates, state.velocity)
        velocity, error = self._accumulated(mean, state, lr)
        chosen = top_k(error, self.k)  # S ← the k coordinates of largest |W|
        moved = error[chosen]  # Δ ← W on S
        error[chosen] = 0.0  # W ← W − Δ
        self.masking.apply(velocity, chosen, moved)  # momentum factor masking: R ← 0 on S
        delta = torch.zeros_like(error)
        delta[chosen] = moved if self.lr_in_error else lr * moved  # θ ← θ − λΔ
        return delta, Memory(velocity, error)

    def _accumulated(self, mean: Vector, state: Memory, lr: float) -> tuple[Vector, Vector]:
        """R ← ρR + u and W ← βW + R, or W ← βW + λR with λ in the error."""
        if not self.lr_in_error:
            return accumulate(state.velocity, state.error, mean, self.momentum, self.error_decay)
        velocity = self.momentum * state.velocity + mean
        return velocity, self.error_decay * state.error + lr * velocity

    def traffic(self, params: int) -> tuple[int, int]:
        """Whole updates go up; k values and their k indices come down."""
        return params, 2 * self.k

    def diagnose(
        self, updates: Updates, state: Memory, delta: Vector, lr: float = 1.0, honest: int | None = None
    ) -> dict[str, float]:
        """As for every defense, and `mass_lost`: the share of ‖W‖₁ that the top k left behind in W."""
        scale = 1.0 if self.lr_in_error else lr
        moved = float(delta.abs().sum()) / scale if scale else math.nan
        left = float(state.error.abs().sum())
        report = super().diagnose(updates, state, delta, lr, honest)
        return report | {"mass_lost": left / (left + moved) if left else 0.0}

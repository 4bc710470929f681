"""SparseFed that chooses its own k in the first round (Algorithm 11 put to use)."""

from typing import ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from sparsefed.core.knobs import Knob, Knobs
from sparsefed.core.types import Vector
from sparsefed.defenses.base import Defense, check_size, finite_mean
from sparsefed.defenses.choose_k import least_k, loss_curve
from sparsefed.defenses.masking import Masking, ZeroMasking
from sparsefed.defenses.sparsefed import Memory, SparseFed
from sparsefed.protocol.updates import Updates

__all__ = ["AutoMemory", "AutoSparseFed"]


class AutoMemory(NamedTuple):
    """SparseFed's memory, and the k that it was given."""

    velocity: Vector
    """R."""
    error: Vector
    """W."""
    k: Tensor
    """The chosen k, one integer; 0 before the first round."""


class AutoSparseFed(Defense):
    """SparseFed with the smallest k that loses at most `max_loss` of the first round's mean update.

    k is chosen once and kept. It rests on what the first round's clients send, clipped; where that is
    not to be trusted, choose k beforehand with `sparsefed choose-k`.
    """

    knobs: ClassVar[Knobs] = {"max_loss": Knob(0.05, 0.95), "momentum": Knob(0, 0.95)}

    max_loss: float = Field(default=0.2, ge=0, lt=1)
    """ω, the share of the ℓ1 mass of the first mean update that may be left out."""
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """ρ, as in SparseFed."""
    masking: Masking = ZeroMasking()
    """As in SparseFed."""
    error_decay: float = Field(default=1.0, ge=0, le=1)
    """β, as in SparseFed."""
    lr_in_error: bool = False
    """As in SparseFed."""

    def init(self, params: Vector, seed: int = 0) -> AutoMemory:
        return AutoMemory(torch.zeros_like(params), torch.zeros_like(params), torch.tensor(0))

    def step(self, updates: Updates, state: AutoMemory, lr: float = 1.0) -> tuple[Vector, AutoMemory]:
        check_size(self, updates, state.velocity.numel())
        k = int(state.k) or least_k(loss_curve([finite_mean(self, updates, state.velocity)]), self.max_loss)
        delta, memory = self.rule(k).step(updates, Memory(state.velocity, state.error), lr)
        return delta, AutoMemory(*memory, torch.tensor(k))

    def rule(self, k: int) -> SparseFed:
        """The rule that a chosen k amounts to."""
        shared = {name: value for name, value in self if name in SparseFed.model_fields}
        return SparseFed(k=k, **shared)

    def diagnose(
        self,
        updates: Updates,
        state: AutoMemory,
        delta: Vector,
        lr: float = 1.0,
        honest: int | None = None,
    ) -> dict[str, float]:
        """As SparseFed's, and the `k` that was chosen."""
        memory = Memory(state.velocity, state.error)
        report = self.rule(int(state.k)).diagnose(updates, memory, delta, lr, honest)
        return report | {"k": float(state.k)}

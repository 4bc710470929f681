"""Mimic: all attackers copy one honest client, who then counts too often (Karimireddy et al., ICLR 2022)."""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from sparsefed.attacks.base import Method
from sparsefed.attacks.view import Grant, View
from sparsefed.core.types import Matrix, Vector

__all__ = ["Mimic", "Tendency"]


class Tendency(NamedTuple):
    """What the attackers remember of honest updates."""

    mean: Vector
    """μ, the running mean."""
    direction: Vector
    """z, a unit vector that turns to the direction of most variance."""
    rounds: Tensor
    """How many rounds they have seen, int64 `[]`."""


class Mimic(Method):
    """Send what the honest client sent that lies farthest along the direction of most variance.

    Nothing about such an upload is wrong, so no rule can tell; it hurts only where honest clients differ.
    The paper fixes one client after a warm-up. Where a cohort is drawn anew in each round, so is the copied.
    """

    needs: ClassVar[Grant] = Grant.HONEST_UPDATES
    collusive_memory: ClassVar[bool] = True

    def init(self, params: Vector) -> Tendency:
        return Tendency(
            torch.zeros_like(params), torch.zeros_like(params), torch.zeros((), dtype=torch.int64)
        )

    def learn(self, view: View, generator: torch.Generator) -> Tendency:
        """Z ← t/(t+1) z + 1/(t+1) Σ (uᵢ − μ)⟨uᵢ − μ, z⟩, then of unit length (Equation 8)."""
        mean, z, rounds = view.memory
        if view.honest is None or view.honest.count == 0:
            return view.memory
        t = int(rounds)
        if t == 0:
            z = torch.randn(z.shape, generator=generator, dtype=z.dtype, device=generator.device).to(z.device)
            z = z / torch.linalg.vector_norm(z)
        mean = t / (t + 1) * mean + view.honest.mean() / (t + 1)
        away = view.honest.rows() - mean
        z = t / (t + 1) * z + away.T @ (away @ z) / (t + 1)
        return Tendency(mean, z / torch.linalg.vector_norm(z).clamp(min=1e-30), rounds + 1)

    def craft(self, view: View, generator: torch.Generator) -> Matrix:
        if view.honest is None or view.honest.count == 0:
            return torch.zeros_like(view.params).expand(view.uploads, -1)  # nobody to copy
        rows = view.honest.rows()
        copied = int(((rows - view.memory.mean) @ view.memory.direction).abs().argmax())
        return rows[copied].expand(view.uploads, -1)

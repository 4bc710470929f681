"""A defense 𝒜: a pure function from a round's updates and a memory to the step that the server takes."""

from abc import abstractmethod
from typing import Any, NamedTuple

import torch

from sparsefed.errors import UpdateError
from sparsefed.spec import Spec
from sparsefed.types import Vector
from sparsefed.updates import Updates

__all__ = ["Defense", "Velocity"]


class Velocity(NamedTuple):
    """The memory of a rule with server momentum."""

    velocity: Vector
    """R, the decaying sum of past aggregates."""


class Defense(Spec, family=True):
    """An aggregation rule with memory. State is passed, never kept: `init`, then `step` every round."""

    @abstractmethod
    def init(self, params: Vector) -> Any:
        """The memory before the first round: a NamedTuple of tensors."""

    @abstractmethod
    def step(self, updates: Updates, state: Any, lr: float = 1.0) -> tuple[Vector, Any]:
        """Aggregate one round.

        Returns delta, which the server subtracts from the model (λ is inside), and the new memory;
        `state` is left as it was. Raises `UpdateError` where the rule cannot work.
        """


def aggregate_mean(rule: Defense, updates: Updates, memory: Vector) -> Vector:
    """The mean of the updates, checked to fit `memory` and to be finite before it can touch the state."""
    if updates.size != memory.numel():
        needed = f"needs updates of {memory.numel()} parameters, got {updates.size}"
        raise UpdateError(f"{type(rule).__name__} {needed}")
    mean = updates.mean()
    if not bool(torch.isfinite(mean.sum())):
        bad = int((~updates.norms().isfinite()).sum())
        raise UpdateError(f"{type(rule).__name__} needs finite updates, got {bad} that are not")
    return mean

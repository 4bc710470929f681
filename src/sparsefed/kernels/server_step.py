"""The dense half of the server's step: momentum and error feedback in one pass."""

from sparsefed.types import Vector

__all__ = ["accumulate"]


def accumulate(velocity: Vector, error: Vector, mean: Vector, momentum: float) -> tuple[Vector, Vector]:
    """R ← ρR + u and W ← W + R: the new velocity and the new error, as new tensors."""
    velocity = momentum * velocity + mean
    return velocity, error + velocity

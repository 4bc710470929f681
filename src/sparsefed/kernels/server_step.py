"""The dense half of the server's step: momentum and error feedback in one pass (Algorithms 1 and 5)."""

import torch
from numba import prange

from sparsefed.core.types import Vector
from sparsefed.kernels.compiled import kernel, runs_compiled, threads

__all__ = ["accumulate"]

_WORTH_COMPILED = 1 << 14


def accumulate(
    velocity: Vector, error: Vector, mean: Vector, momentum: float, decay: float = 1.0
) -> tuple[Vector, Vector]:
    """R ← ρR + u and W ← βW + R: the new velocity and the new error, as new tensors; β is `decay`.

    Both paths round as the two lines of PyTorch do, so they agree bit for bit. Cost: three vectors read
    and two written, once.
    """
    if not runs_compiled(velocity, error, mean, at_least=_WORTH_COMPILED):
        velocity = momentum * velocity + mean
        return velocity, decay * error + velocity
    new_velocity, new_error = torch.empty_like(velocity), torch.empty_like(error)
    old, new = (velocity.numpy(), error.numpy(), mean.numpy()), (new_velocity.numpy(), new_error.numpy())
    with threads(mean.numel()):
        number = old[0].dtype.type
        _accumulate(*old, number(momentum), number(decay), *new)
    return new_velocity, new_error


@kernel(parallel=True)
def _accumulate(velocity, error, mean, momentum, decay, new_velocity, new_error):  # noqa: PLR0917
    for i in prange(len(mean)):
        new_velocity[i] = momentum * velocity[i] + mean[i]
        new_error[i] = decay * error[i] + new_velocity[i]

"""How far a claimed Lipschitz constant can be from true: a numerical lower bound for any model.

Every pair of models bounds c from below by max |∇ᵢℒ(θ*) − ∇ᵢℒ(θ)| / ‖θ* − θ‖₁. The search moves
one coordinate of θ, walks to the one that answers most, then climbs in θ. Where gradients jump (ReLU,
max pooling) no finite c exists: across a kink the bound grows like 1/`gap` as the pairs close.
"""

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call

from sparsefed.certify.checks import whole
from sparsefed.core.errors import SpecError
from sparsefed.core.seeds import Stream, torch_generator
from sparsefed.core.types import Vector
from sparsefed.models.network import Network, mean_cross_entropy

__all__ = ["LowerBound", "lipschitz_lower_bound"]

WALK, CLIMB = 8, 30  # columns looked at, twice, and steps in θ, for each start

Loss = Callable[[Vector], Tensor]


class LowerBound(NamedTuple):
    """A pair of models and the constant that it rules out."""

    value: float
    """No c below this is coordinatewise Lipschitz on the given examples."""
    coordinate: int
    """The coordinate of the gradient that changes most."""
    params: Vector
    """θ, float64."""
    other: Vector
    """θ*, which differs from θ in one coordinate."""


def lipschitz_lower_bound(
    network: Network,
    inputs: Tensor,
    labels: Tensor,
    *,
    spread: float = 1.0,
    gap: float = 1e-3,
    starts: int = 4,
    seed: int = 0,
) -> LowerBound:
    """Search pairs at ℓ1 distance `gap` around the network's own parameters, in float64.

    Starting points are normal with deviation `spread` in every coordinate; `inputs` and `labels` are the
    examples whose mean gradient is the oracle. Costs about 100 gradients per start.
    """
    if not (gap > 0 and spread >= 0):
        raise SpecError(f"search: expected gap > 0 and spread >= 0, found {gap} and {spread}")
    loss, base = _loss(network, inputs, labels), network.vector().double()
    generator = torch_generator(seed, Stream.PROBE)
    found = []
    for _ in range(whole("starts", starts)):
        noise = torch.randn(base.shape, generator=generator, dtype=torch.float64)
        params = base + spread * noise.to(base.device)
        columns = torch.randint(len(base), (WALK,), generator=generator).tolist()
        row, column = _walk(loss, params, columns, gap)
        found.append(_climb(loss, params, row, column, gap))
    return max(found, key=lambda bound: bound.value)


def _loss(network: Network, inputs: Tensor, labels: Tensor) -> Loss:
    module = copy.deepcopy(network.module).double()
    inputs = inputs.double() if inputs.is_floating_point() else inputs

    def loss(params: Vector) -> Tensor:
        weights = dict(zip(network.names, network.views(params), strict=True))
        return mean_cross_entropy(functional_call(module, weights, (inputs,)), labels)

    return loss


def _gradient(loss: Loss, params: Vector) -> Vector:
    return torch.autograd.grad(loss(params), params, create_graph=True)[0]


def _walk(loss: Loss, params: Vector, columns: list[int], gap: float) -> tuple[int, int]:
    """Which coordinate to watch and which to move: the best of some, then from one to the other."""
    params = params.clone().requires_grad_()
    here = torch.autograd.grad(loss(params), params)[0]

    def largest(column: int) -> tuple[float, int, int]:
        moved = params.detach().clone()
        moved[column] += gap
        moved.requires_grad_()
        change = (torch.autograd.grad(loss(moved), moved)[0] - here).abs()
        return float(change.max()), int(change.argmax()), column

    best = max(largest(column) for column in columns)
    for _ in range(WALK):
        found = largest(best[1])  # second derivatives are symmetric: what changed most is moved next
        if found[0] <= best[0]:
            break
        best = found
    return best[1], best[2]


def _climb(loss: Loss, params: Vector, row: int, column: int, gap: float) -> LowerBound:
    """Ascend |∇ᵢℒ(θ + gap·e_j) − ∇ᵢℒ(θ)|/gap in θ; every point tried is a valid bound, the best is kept."""
    step = torch.zeros_like(params)
    step[column] = gap
    best, pace = LowerBound(-1.0, row, params, params + step), 0.01 * len(params) ** 0.5
    uphill = torch.zeros_like(params)
    for _ in range(CLIMB):
        tried = (best.params + pace * uphill).requires_grad_()
        difference = _gradient(loss, tried + step) - _gradient(loss, tried)
        ratio, at = (difference.abs() / gap).max(0)
        if ratio.item() <= best.value:
            pace /= 3
            continue
        best = LowerBound(ratio.item(), int(at), tried.detach(), (tried + step).detach())
        uphill = torch.nn.functional.normalize(torch.autograd.grad(ratio, tried)[0], dim=0)
        pace *= 1.5
    return best

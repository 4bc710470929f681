"""How fast SparseFed converges without attack (Theorems 3 and 5, corrected).

For a constant learning rate η, no momentum and no clip that bites,

    min_t E‖∇ℒ(θ_t)‖² ≤ 2 (ℒ(θ₀) − ℒ*)/(η (T+1)) + η ℓ σ² + 4 η² ℓ² σ² (1−δ)/δ²,

with δ = k/d, ℓ the smoothness and E‖g‖² ≤ σ². The paper prints half of the middle term in Theorem 5:
the argument (descent on θ_t − ηW_t, then ⟨a, b⟩ ≥ −‖a‖²/2 − ‖b‖²/2) gives all of it. Theorem 3 is the
case η = 1/√(T+1), for the *squared* norm and a *constant* step; it prints neither, and "θ₀ − θ*" for a
difference of losses. Derived in `docs/certificate.md`.

The convergence bound beside the gradient norms of a real run (Theorem 5, corrected).
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from sparsefed.certify.along import covered_by, steps
from sparsefed.certify.checks import nonnegative, whole
from sparsefed.certify.radius import width
from sparsefed.clients import Gradient, Work
from sparsefed.core.errors import SpecError
from sparsefed.core.types import Vector
from sparsefed.defenses import SparseFed
from sparsefed.federation.experiment import Experiment
from sparsefed.federation.round import Federation
from sparsefed.models import Linear
from sparsefed.protocol.schedules import Constant

__all__ = ["Descent", "convergence_bound", "descent"]


def convergence_bound(
    rounds: int, *, lr: float, excess_loss: float, smoothness: float, moment: float, params: int, k: int
) -> float:
    """The bound on the least squared gradient norm of rounds 0 … T.

    `excess_loss` is ℒ(θ₀) − ℒ*, or ℒ(θ₀) itself where the loss is never negative; `moment` is σ², a
    bound on the expected *squared* norm of an update. Raises SpecError for what is not positive.
    """
    width(params, k)
    lr, rounds = nonnegative("lr", lr), whole("rounds", rounds, least=0)
    if lr == 0:
        raise SpecError("lr: expected a learning rate above 0, found 0")
    delta = k / params
    noise = nonnegative("smoothness", smoothness) * nonnegative("moment", moment)
    start = 2 * nonnegative("excess_loss", excess_loss) / (lr * (rounds + 1))
    return start + lr * noise + 4 * lr**2 * smoothness * noise * (1 - delta) / delta**2


class Descent(NamedTuple):
    """One round of a run without attack."""

    squared_norm: float
    """‖∇ℒ(θ_t)‖² of the mean loss over all clients, before the round."""
    least: float
    """The least so far, which is what the theorem speaks of."""
    bound: float
    """Its bound, with the longest update of all rounds for σ."""


def descent(experiment: Experiment) -> list[Descent]:
    """Measured gradient norms and their bound, for every round of an experiment.

    Raises SpecError where the theorem does not apply: another model than softmax regression, a changing
    learning rate, momentum, local training, or a clip that shortens an honest update.
    """
    _check(experiment)
    fed = Federation.of(experiment)
    run = list(steps(fed))
    models = [fed.initial_state.params, *(step.params for step in run[:-1])]
    seen = [_everyone(fed, params, t) for t, params in enumerate(models, start=1)]
    longest, squares = max(length for _, length in seen), [square for square, _ in seen]
    if longest > (least_clip := min(step.clip_norm for step in run)):
        raise SpecError(f"theorem: expected a clip norm of at least {longest:.3g}, found {least_clip:g}")
    numbers = {
        "lr": run[0].lr,
        "excess_loss": _initial_loss(fed),
        "smoothness": max(step.oracle.smoothness for step in run),
        "moment": longest**2,
        "params": fed.network.size,
        "k": experiment.defense.k if isinstance(experiment.defense, SparseFed) else fed.network.size,
    }
    rows = enumerate(zip(squares, np.minimum.accumulate(squares).tolist(), strict=True))
    return [Descent(square, least, convergence_bound(t, **numbers)) for t, (square, least) in rows]


def _everyone(fed: Federation, params: Vector, round: int) -> tuple[float, float]:
    """‖∇ℒ‖² over all clients, and the ℓ2 norm of the longest update of any."""
    data = fed.local_data(np.arange(len(fed.population)), round)
    updates = Gradient().updates(Work(fed.network, params, data, 1.0, fed.spec.seed, round))
    return float(updates.mean().square().sum()), float(updates.norms().max())


def _check(spec: Experiment) -> None:
    momentum = getattr(spec.defense, "momentum", 0.0)
    covered_by(
        "theorem",
        spec,
        ("model", isinstance(spec.model, Linear), "softmax regression, whose smoothness is known"),
        ("schedule", isinstance(spec.schedule, Constant), "a constant learning rate"),
        ("clients", isinstance(spec.clients, Gradient) and not spec.clients.weight_decay, "plain gradients"),
        ("defense", momentum == 0, "a server without momentum"),
    )


def _initial_loss(fed: Federation) -> float:
    """ℒ(θ₀), the mean over clients, which bounds ℒ(θ₀) − ℒ* as no loss is negative."""
    fed.network.bind(fed.initial_state.params)
    data = fed.local_data(np.arange(len(fed.population)), 1)
    bounds = np.concatenate([[0], np.cumsum(data.sizes)]).tolist()
    with fed.network.evaluating():
        losses = [float(fed.network.loss(data.inputs[a:b], data.labels[a:b])) for a, b in pairwise(bounds)]
    return float(np.mean(losses))

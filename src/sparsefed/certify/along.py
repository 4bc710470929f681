"""What the theory needs to know of an experiment, measured along its unattacked run."""

import math
from collections.abc import Callable, Iterator
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from sparsefed.certify.lipschitz import Oracle, softmax_oracle
from sparsefed.certify.lower_bound import lipschitz_lower_bound
from sparsefed.certify.sparsity import Sparsity, measure
from sparsefed.clients import FedAvg, Gradient, LocalData, Work
from sparsefed.core.errors import SpecError
from sparsefed.core.origin import origin_of
from sparsefed.core.types import Vector
from sparsefed.defenses import Mean, NoMasking, SparseFed, ZeroMasking
from sparsefed.federation.experiment import Experiment
from sparsefed.federation.round import Federation
from sparsefed.models import Linear
from sparsefed.protocol.anchors import InitialModel, Unanchored
from sparsefed.protocol.clips import AdaptiveClip, FixedClip

__all__ = ["VOTES", "Step", "check_covered", "covered_by", "features", "steps"]

VOTES = "; votes among models of groups certify any experiment: `sparsefed certify FILE --groups 10`"
"""What there is for an experiment that the theory does not cover."""


class Step(NamedTuple):
    """One round θ ← θ − λ A(u) of the unattacked run, in units of its update u."""

    lr: float
    """λ_t, what the server multiplies A(u) with; 1 where the updates contain λ."""
    clip_norm: float
    """L_t, the bound on a client's part of u."""
    longest: float
    """The longest honest update before the clip, in ℓ2."""
    oracle: Oracle
    """How the honest updates depend on the model."""
    sparsity: Sparsity
    """ω_k and γ_t of this round."""
    params: Vector
    """θ after the round."""
    stiffness: float = 0.0
    """η_t: the anchor pulls by η_t λ_t (θ − θ₀)."""


def covered_by(theory: str, spec: Experiment, *checks: tuple[str, bool, str], hint: str = "") -> None:
    """Raises SpecError about the first key whose condition does not hold, with what is needed."""
    for key, holds, needed in checks:
        if not holds:
            value = reduce(getattr, key.split("."), spec)
            with origin_of(spec).about(*key.split(".")):
                raise SpecError(f"the {theory}: expected {needed}, found {value!r}{hint}")


def check_covered(spec: Experiment, lipschitz: float | None) -> None:
    """Raises SpecError, with what is needed, for an experiment that the theory does not cover."""
    defense, masking = spec.defense, getattr(spec.defense, "masking", None)
    covered_by(
        "certificate",
        spec,
        ("defense", type(defense) in (Mean, SparseFed), "the plain mean or SparseFed"),
        (
            "defense.masking",
            isinstance(masking, ZeroMasking | NoMasking | None) or not getattr(defense, "momentum", 0.0),
            "a masking that only shrinks the velocity",
        ),
        (
            "defense.error_decay",
            getattr(defense, "error_decay", 1.0) == 1.0,
            "1, error feedback that forgets nothing",
        ),
        ("anchor", type(spec.anchor) in (Unanchored, InitialModel), "no anchor, or InitialModel"),
        (
            "clip",
            type(spec.clip) in (FixedClip, AdaptiveClip),
            "a clip that does not depend on the updates (a single unclipped upload moves the model anywhere)",
        ),
        (
            "model",
            lipschitz is not None or isinstance(spec.model, Linear),
            "`lipschitz`, or softmax regression (Linear), whose constant is known",
        ),
        (
            "clients",
            lipschitz is not None or _inner_lr(spec, 1.0) is not None,
            "`lipschitz` (see `local_steps`), or clients of one local step",
        ),
        hint=VOTES,
    )


def steps(fed: Federation, lipschitz: float | None = None) -> Iterator[Step]:
    """The rounds of the unattacked run; `lipschitz` replaces the constant of softmax regression.

    Raises SpecError where the theory does not cover the experiment.
    """
    check_covered(spec := fed.spec, lipschitz)
    params, memory = fed.initial_state.params, fed.initial_state.memory
    in_error = isinstance(spec.defense, SparseFed) and spec.defense.lr_in_error
    stiffness = spec.anchor.stiffness if isinstance(spec.anchor, InitialModel) else 0.0
    oracle_of = _oracle_of(fed, lipschitz)
    for t in range(1, spec.rounds + 1):
        lr = spec.schedule.lr(t, spec.rounds)
        server_lr, clip_norm = spec.clients.server_lr(lr), spec.clip.norm_at(lr, spec.clip.init())
        data = fed.local_data(fed.cohort(t), t)
        updates = spec.clients.updates(Work(fed.network, params, data, lr, spec.seed, t))
        delta, after = spec.defense.step(updates.admitted(clip_norm), memory, server_lr)
        params = fed.moved(params, delta, lr)
        scale = server_lr if in_error else 1.0  # with λ in the error, u is λ times the update, and λ is 1
        yield Step(
            lr=server_lr / scale,
            clip_norm=clip_norm * scale,
            longest=float(updates.norms().max()) * scale,
            oracle=oracle_of(data, lr).scaled(scale),
            sparsity=_sparsity(spec, memory, after, delta / (server_lr / scale), scale),
            params=params,
            stiffness=stiffness * lr * scale / server_lr,
        )
        memory = after


def features(fed: Federation, inputs: Tensor) -> Tensor:
    """Examples as softmax regression sees them, float64: flat, and a 1 for the bias if there is one."""
    flat = inputs.flatten(1).double()
    biased = isinstance(fed.spec.model, Linear) and fed.spec.model.bias
    return torch.cat([flat, flat.new_ones(len(flat), 1)], dim=1) if biased else flat


def _oracle_of(fed: Federation, lipschitz: float | None) -> Callable[[LocalData, float], Oracle]:
    """The oracle of a round, given its examples and learning rate."""
    spec = fed.spec
    if lipschitz is not None:
        claimed = Oracle.claimed(lipschitz, fed.network.size)
        _check_claim(fed, lipschitz)
        return lambda data, lr: claimed

    everyone = spec.cohort == len(fed.population) and fed.dataset.augment is None
    known: list[Oracle] = []  # where everyone is in every cohort, one round speaks for all

    def of_examples(data: LocalData) -> Oracle:
        oracle = known[0] if known else softmax_oracle(features(fed, data.inputs), data.sizes)
        known.extend([oracle] if everyone and not known else [])
        return oracle

    decay = getattr(spec.clients, "weight_decay", 0.0)
    return lambda data, lr: of_examples(data).scaled(_inner_lr(spec, lr) or math.nan, decay)


def _check_claim(fed: Federation, lipschitz: float) -> None:
    """Raises SpecError where a client of the first cohort proves the claimed constant too small."""
    if isinstance(fed.spec.clients, Gradient):  # the update is the gradient, and pairs of models bound c
        data = fed.local_data(fed.cohort(1)[:1], 1)
        seen = lipschitz_lower_bound(fed.network, data.inputs, data.labels, starts=1).value
        if seen > lipschitz:
            found = f"{lipschitz:g}, but client {data.clients[0]} shows {seen:.3g} or more"
            raise SpecError(f"expected a `lipschitz` that holds for every client, found {found}")


def _inner_lr(spec: Experiment, lr: float) -> float | None:
    """What clients multiply their gradient with; None if they take more than one step."""
    if isinstance(spec.clients, Gradient):
        return 1.0
    if (
        isinstance(spec.clients, FedAvg)
        and spec.clients.local_epochs == 1
        and spec.clients.batch_size is None
    ):
        return lr if spec.clients.local_lr is None else spec.clients.local_lr
    return None


def _sparsity(spec: Experiment, before: object, after: object, delta: Vector, scale: float) -> Sparsity:
    momentum = spec.defense.momentum if isinstance(spec.defense, Mean | SparseFed) else 0.0
    before = before._replace(velocity=before.velocity * scale)  # type: ignore[attr-defined]
    return measure(before, after, delta, momentum)  # type: ignore[arg-type]

"""One round of a federation, on one screen (Algorithm 1 with everything that can stand in it)."""

import math
import time
from typing import Any, NamedTuple

import numpy as np
import torch

from sparsefed.attacks import Grant, Server, View
from sparsefed.clients import LocalData, Work
from sparsefed.clients.sharded import updates_of
from sparsefed.core.errors import UpdateError
from sparsefed.core.origin import origin_of
from sparsefed.core.seeds import Stream, seeded, torch_generator
from sparsefed.core.types import Vector
from sparsefed.federation.checks import (
    left_alone,
    next_memory,
    number,
    numbers,
    rule_step,
    uploads,
    use_device,
)
from sparsefed.federation.federation import Federation, ServerState
from sparsefed.protocol.aside import NOTHING, Aside
from sparsefed.protocol.joined import Joined
from sparsefed.protocol.updates import Dense, Updates

__all__ = ["Federation", "RoundReport", "ServerState", "run_round"]


class RoundReport(NamedTuple):
    """What happened in one round, as the simulation sees it."""

    lr: float
    clip_norm: float
    compromised: int
    """Compromised clients in the cohort that attacked."""
    rejected: int
    """Updates that were not finite or of the wrong length, and were left out."""
    attackers_rejected: int
    """How many of these were uploads of compromised clients that attacked."""
    attackers_idle: int
    """Compromised clients whose upload was rejected or all zeros, which is no attack."""
    skipped: str | None
    """Why the defense could not use the updates, so that the server stays as it was; None where it could."""
    honest_norm: float
    """Median ℓ2 norm of the finite honest updates before the clip; NaN without any."""
    clipped: float
    """Share of the honest updates that the clip shortened."""
    diagnosis: dict[str, float | None]
    """What the defense did, in its own numbers (`Defense.diagnose`)."""
    seconds_honest: float
    seconds_attack: float
    seconds_server: float


def run_round(fed: Federation, state: ServerState, poisoned: bool = True) -> tuple[ServerState, RoundReport]:
    """One communication round. With `poisoned=False` the compromised clients act like honest ones.

    Whatever draws from a global generator in it is a function of the seed and the round; for this,
    rounds of several threads take turns.
    """
    use_device(fed.spec.device, fed.spec.precision)  # another federation may have set it otherwise
    with seeded(fed.spec.seed, Stream.ROUND, state.round + 1):
        return _run_round(fed, state, poisoned)


def _run_round(fed: Federation, state: ServerState, poisoned: bool) -> tuple[ServerState, RoundReport]:
    spec, t = fed.spec, state.round + 1
    lr = number(spec.schedule, "lr", spec.schedule.lr(t, spec.rounds))
    clip_norm = number(spec.clip, "norm_at", spec.clip.norm_at(lr, state.clip))
    clock, about = _Clock(state.params.device), origin_of(spec).about

    cohort = fed.cohort(t)
    data = fed.local_data(cohort, t)
    with about("attack", "presence"):
        bad = fed.attacking(cohort, t) & poisoned
    work = Work(fed.network, state.params, data.of(~bad), lr, spec.seed, t)
    honest = updates_of(spec.clients, work, fed.ranks)  # uᵢ ← θ − θᵢ
    honest = honest.as_dense() if spec.defense.needs_rows else honest
    attacker = state.attacker
    updates = admitted = honest.admitted(clip_norm)  # uᵢ ← uᵢ · min(1, L / ‖uᵢ‖)
    allowed = None
    norms = uploaded = honest.norms()
    sizes = tuple(fed.network.sizes)
    beside = Aside(cohort[~bad][_let_in(admitted)], _own(fed, work, clip_norm), sizes, len(cohort))
    clock.lap()
    if bad.any():
        with about("attack", "method"):
            view = _view(fed, state, work, data.of(bad), admitted, beside=beside)
            hostile, attacker = _poison(fed, view)
        allowed = hostile.admitted(clip_norm)
        updates = Joined(admitted, allowed)
        uploaded = torch.cat([norms, hostile.norms()])
        beside = beside.joined(cohort[bad][_let_in(allowed)])
    updates.aside = beside
    clock.lap()
    params, memory, clip, diagnosis, skipped = state.params, state.memory, state.clip, {}, None
    server_lr = spec.clients.server_lr(lr)
    try:
        seen = spec.aggregation.seen(updates, clip_norm)
        delta, new_memory = rule_step(spec.defense, seen, memory, server_lr, params)
        new_clip = next_memory(spec.clip, clip, spec.clip.next(clip, uploaded))
        new_params = fed.moved(params, delta, lr)  # θ ← θ − λΔ − λη(θ − θ₀)
        clock.lap()
        report = spec.defense.diagnose(seen, new_memory, delta, server_lr, honest=admitted.count)
        diagnosis = numbers(spec.defense, report)
        params, memory, clip = new_params, new_memory, new_clip
    except UpdateError as problem:  # what clients send may cost the server a round, never the run
        skipped = str(problem)
        clock.lap()
    clock.lap()

    finite = norms[norms.isfinite()]
    report = RoundReport(
        lr=lr,
        clip_norm=clip_norm,
        compromised=int(bad.sum()),
        rejected=len(cohort) - updates.count,
        attackers_rejected=0 if allowed is None else int(bad.sum()) - allowed.count,
        attackers_idle=0 if allowed is None else int(bad.sum()) - int((allowed.norms() > 0).sum()),
        skipped=skipped,
        honest_norm=float(finite.median()) if len(finite) else math.nan,
        clipped=float((norms > clip_norm).double().mean()) if len(norms) else math.nan,
        diagnosis=diagnosis,
        seconds_honest=clock.laps[0],
        seconds_attack=clock.laps[1],
        seconds_server=clock.laps[2],
    )
    return ServerState(t, params, memory, clip, attacker), report


def _own(fed: Federation, work: Work, clip_norm: float) -> Vector | None:
    """What an honest client would send that has the server's own examples; None where the rule needs none."""
    data = fed.server_data
    if data is None:
        return None
    return fed.spec.clients.updates(work._replace(data=data)).admitted(clip_norm).sum()


def _let_in(updates: Updates) -> np.ndarray:
    """Positions of the clients whose updates are still there."""
    return updates.roll.present if isinstance(updates, Dense) else np.arange(updates.count)


def _view(
    fed: Federation,
    state: ServerState,
    work: Work,
    local: LocalData,
    honest: Updates,
    *,
    beside: Aside = NOTHING,
) -> View:
    """What the attack's threat model grants, and nothing else."""
    needs = fed.attack.method.needs
    return View(
        network=fed.network,
        params=state.params,
        lr=work.lr,
        clip_norm=number(fed.spec.clip, "norm_at", fed.spec.clip.norm_at(work.lr, state.clip)),
        round=work.round,
        cohort=fed.spec.cohort,
        classes=fed.dataset.names,
        clients=fed.spec.clients,
        local=local,
        anchor=fed.spec.anchor,
        initial=fed.initial,
        objective=fed.attack.objective,
        auxiliary=fed.auxiliary and fed.auxiliary._replace(goal=None),
        memory=state.attacker,
        honest=honest if Grant.HONEST_UPDATES in needs else None,
        server=Server(fed.spec.defense, state.memory, beside.joined(local.clients))
        if Grant.SERVER_MEMORY in needs
        else None,
    )


def _poison(fed: Federation, view: View) -> tuple[Dense, Any]:
    """The hostile uploads, and the attacker's memory after the round."""
    method, seed = fed.attack.method, fed.spec.seed
    generator = torch_generator(seed, Stream.ATTACK, view.round)
    with seeded(seed, Stream.CRAFTING, view.round):
        with left_alone(method, view.memory):
            memory = method.learn(view, generator)
        memory = next_memory(method, view.memory, memory)
        poison = method.craft(view._replace(memory=memory), generator)
    return uploads(method, poison, view.uploads, view.params), memory


class _Clock:
    """Seconds between laps; a GPU is waited for, or its work would count where its result is first read."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.laps = device, list[float]()
        self.last = time.perf_counter()

    def lap(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        self.laps.append(now - self.last)
        self.last = now

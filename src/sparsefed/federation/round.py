"""The federation and its round, on one screen (Algorithm 1 with everything that can stand in it)."""

import math
import time
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sparsefed.attacks import Attack, Auxiliary, Grant, Nothing, Server, View
from sparsefed.clients import LocalData, Work
from sparsefed.core.errors import SpecError, UpdateError
from sparsefed.core.seeds import Stream, rng, seeded, torch_generator
from sparsefed.core.types import ClientIds, Vector
from sparsefed.data import Dataset, Population
from sparsefed.data.mapped import mapped
from sparsefed.federation.checks import (
    affordable,
    first_memory,
    left_alone,
    next_memory,
    number,
    numbers,
    rule_step,
    uploads,
)
from sparsefed.federation.experiment import Experiment
from sparsefed.models.network import Network
from sparsefed.models.trial import check_network
from sparsefed.protocol.updates import Dense, Joined, Updates

__all__ = ["Federation", "RoundReport", "ServerState", "run_round"]


class ServerState(NamedTuple):
    """Everything that is remembered between rounds: the checkpoint, and all that a round depends on."""

    round: int
    """How many rounds are done."""
    params: Vector
    """θ."""
    memory: Any
    """The defense's memory."""
    clip: Tensor
    """The clip's memory."""
    attacker: Any = Nothing()
    """The attacker's memory, which the simulation keeps for it."""


class RoundReport(NamedTuple):
    """What happened in one round, as the simulation sees it."""

    lr: float
    clip_norm: float
    compromised: int
    """Compromised clients in the cohort that attacked."""
    rejected: int
    """Updates that were not finite or of the wrong length, and were left out."""
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


@dataclass(frozen=True)
class Federation:
    """An experiment made ready to run: data read, clients dealt, attackers drawn."""

    spec: Experiment
    dataset: Dataset
    population: Population
    network: Network
    initial: Vector
    """θ₀, the model before the first round."""
    auxiliary: Auxiliary | None
    compromised: np.ndarray
    """Mask of the compromised clients, bool `[clients]`."""

    @classmethod
    def of(cls, spec: Experiment) -> "Federation":
        """Read and check everything that `spec` names; raises `SpecError` or `DataError`."""
        if spec.device.startswith("cuda") and not torch.cuda.is_available():
            raise SpecError(f"device `{spec.device}` is not there: this machine's PyTorch sees no GPU")
        dataset = spec.data.load().to(spec.device)
        with affordable(spec.partition):
            population = spec.partition.split(dataset.train, dataset.classes, spec.seed)
        if spec.cohort > len(population):
            raise SpecError(f"a cohort of {spec.cohort} needs as many clients, found {len(population)}")
        given = dataset
        with affordable(spec.model):
            frozen = spec.model.frozen(partial(_sample, dataset, spec.seed), spec.seed)
            dataset = dataset if frozen is None else mapped(dataset, frozen)
            x, y = dataset.inputs(dataset.train.x[:2]), dataset.train.y[:2]
            network = spec.model.network(dataset.input_shape, dataset.classes, spec.seed, x.dtype)
            network.to(spec.device, getattr(torch, spec.precision))
        check_network(spec.model, network, x, y, dataset.classes)
        compromised, auxiliary = np.zeros(len(population), bool), None
        if spec.attack is not None:
            compromised = spec.attack.presence.compromised(len(population), spec.seed)
            auxiliary = spec.attack.objective.auxiliary(given, spec.seed)
            if auxiliary is not None:
                auxiliary = auxiliary if frozen is None else auxiliary.mapped(frozen)
                auxiliary = auxiliary.mapped(network.as_precise)
        return cls(spec, dataset, population, network, network.vector(), auxiliary, compromised)

    @cached_property
    def initial_state(self) -> ServerState:
        """The server before the first round."""
        params = self.initial
        with seeded(self.spec.seed, Stream.ROUND, 0):
            with affordable(self.spec.defense):
                memory = self.spec.defense.init(params, self.spec.seed)
            attacker = Nothing() if self.spec.attack is None else self.attack.method.init(params)
        return ServerState(
            0,
            params,
            first_memory(self.spec.defense, memory),
            first_memory(self.spec.clip, self.spec.clip.init()),
            Nothing() if self.spec.attack is None else first_memory(self.attack.method, attacker),
        )

    @property
    def rounds_per_epoch(self) -> int:
        """Rounds in which every client is drawn once; clients left over sit the epoch out."""
        return len(self.population) // self.spec.cohort

    def cohort(self, round: int) -> ClientIds:
        """The clients of round t = 1, 2, …: every epoch is a seeded partition of the population."""
        epoch, place = divmod(round - 1, self.rounds_per_epoch)
        order = _epoch_order(self.spec.seed, epoch, len(self.population))
        return order[place * self.spec.cohort : (place + 1) * self.spec.cohort]

    def moved(self, params: Vector, delta: Vector, lr: float) -> Vector:
        """θ after a round of rate λ = `lr` in which the rule takes the step `delta`."""
        return self.spec.anchor.pulled(params, self.initial, lr) - delta

    def evaluated(self, round: int) -> bool:
        """Whether the model is evaluated after this round (`Experiment.evaluate_every`)."""
        every, always = self.spec.evaluate_every or max(1, self.spec.rounds // 24), {self.spec.rounds}
        if self.spec.attack is not None:
            always |= {self.attack.presence.starts - 1, self.attack.presence.ends}
            if round > self.spec.rounds - self.rounds_per_epoch:  # attack accuracy swings: mean and maximum
                every = min(every, max(1, self.rounds_per_epoch // 3))
        return round % every == 0 or round in always

    def local_data(self, clients: ClientIds, round: int) -> LocalData:
        """The training examples of some clients, augmented for this round."""
        indices, sizes = self.population.gather(clients)
        x, y = self.dataset.train.x[indices], self.dataset.train.y[indices]
        generator = torch_generator(self.spec.seed, Stream.AUGMENT, round, device=x.device)
        inputs = self.network.as_precise(self.dataset.training_inputs(x, generator))
        return LocalData(clients, inputs, y, sizes)

    @property
    def attack(self) -> Attack:
        """The attack, where there is one."""
        if self.spec.attack is None:
            raise SpecError("this experiment has no attack")
        return self.spec.attack

    def attacking(self, clients: ClientIds, round: int) -> np.ndarray:
        """Which of `clients` attack in this round, bool."""
        if self.spec.attack is None:
            return np.zeros(len(clients), bool)
        return self.attack.presence.attacking(self.compromised, clients, round, self.spec.seed)


def run_round(fed: Federation, state: ServerState, poisoned: bool = True) -> tuple[ServerState, RoundReport]:
    """One communication round. With `poisoned=False` the compromised clients act like honest ones.

    Whatever draws from a global generator in it is a function of the seed and the round; for this,
    rounds of several threads take turns.
    """
    with seeded(fed.spec.seed, Stream.ROUND, state.round + 1):
        return _run_round(fed, state, poisoned)


def _run_round(fed: Federation, state: ServerState, poisoned: bool) -> tuple[ServerState, RoundReport]:
    spec, t = fed.spec, state.round + 1
    lr = number(spec.schedule, "lr", spec.schedule.lr(t, spec.rounds))
    clip_norm = number(spec.clip, "norm_at", spec.clip.norm_at(lr, state.clip))
    clock = _Clock(state.params.device)

    cohort = fed.cohort(t)
    data = fed.local_data(cohort, t)
    bad = fed.attacking(cohort, t) & poisoned
    work = Work(fed.network, state.params, data.of(~bad), lr, spec.seed, t)
    honest = spec.clients.updates(work)  # uᵢ ← θ − θᵢ
    honest = honest.as_dense() if spec.defense.needs_rows else honest
    attacker = state.attacker
    updates = admitted = honest.admitted(clip_norm)  # uᵢ ← uᵢ · min(1, L / ‖uᵢ‖)
    norms = uploaded = honest.norms()
    clock.lap()
    if bad.any():
        hostile, attacker = _poison(fed, _view(fed, state, work, data.of(bad), admitted))
        updates = Joined(admitted, hostile.admitted(clip_norm))
        uploaded = torch.cat([norms, hostile.norms()])
    clock.lap()
    params, memory, clip, diagnosis, skipped = state.params, state.memory, state.clip, {}, None
    server_lr = spec.clients.server_lr(lr)
    try:
        delta, new_memory = rule_step(spec.defense, updates, memory, server_lr, params)
        new_clip = next_memory(spec.clip, clip, spec.clip.next(clip, uploaded))
        new_params = fed.moved(params, delta, lr)  # θ ← θ − λΔ − λη(θ − θ₀)
        clock.lap()
        report = spec.defense.diagnose(updates, new_memory, delta, server_lr, honest=admitted.count)
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
        skipped=skipped,
        honest_norm=float(finite.median()) if len(finite) else math.nan,
        clipped=float((norms > clip_norm).double().mean()) if len(norms) else math.nan,
        diagnosis=diagnosis,
        seconds_honest=clock.laps[0],
        seconds_attack=clock.laps[1],
        seconds_server=clock.laps[2],
    )
    return ServerState(t, params, memory, clip, attacker), report


def _view(fed: Federation, state: ServerState, work: Work, local: LocalData, honest: Updates) -> View:
    """What the attack's threat model grants, and nothing else."""
    needs = fed.attack.method.needs
    return View(
        network=fed.network,
        params=state.params,
        lr=work.lr,
        clip_norm=number(fed.spec.clip, "norm_at", fed.spec.clip.norm_at(work.lr, state.clip)),
        round=work.round,
        cohort=fed.spec.cohort,
        classes=fed.dataset.classes,
        clients=fed.spec.clients,
        local=local,
        anchor=fed.spec.anchor,
        initial=fed.initial,
        objective=fed.attack.objective,
        auxiliary=fed.auxiliary and fed.auxiliary._replace(goal=None),
        memory=state.attacker,
        honest=honest if Grant.HONEST_UPDATES in needs else None,
        server=Server(fed.spec.defense, state.memory) if Grant.SERVER_MEMORY in needs else None,
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


def _sample(dataset: Dataset, seed: int, count: int) -> Tensor:
    """Training inputs without their labels, drawn by the seed; all of them if there are fewer."""
    order = rng(seed, Stream.FEATURES).permutation(len(dataset.train.y))[:count]
    return dataset.inputs(dataset.train.x[np.sort(order)])


@lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, clients: int) -> np.ndarray:
    return rng(seed, Stream.COHORT, epoch).permutation(np.arange(clients, dtype=np.int32))


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

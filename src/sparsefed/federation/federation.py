"""A federation: an experiment made ready to run, and what its server remembers between rounds."""

from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sparsefed.attacks import Attack, Auxiliary, Nothing
from sparsefed.clients import LocalData
from sparsefed.core.errors import SpecError
from sparsefed.core.origin import origin_of
from sparsefed.core.ranks import Ranks
from sparsefed.core.seeds import Stream, rng, seeded, torch_generator
from sparsefed.core.types import ClientIds, Vector
from sparsefed.data import Dataset, Population
from sparsefed.data.mapped import mapped
from sparsefed.federation.checks import affordable, check_cohort, first_memory, use_device
from sparsefed.federation.experiment import Experiment
from sparsefed.models.network import Network
from sparsefed.models.trial import check_network

__all__ = ["Federation", "ServerState"]


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
    ranks: Ranks | None = None
    """The processes over which the honest clients are spread; None where this one computes them all."""

    @classmethod
    def of(cls, spec: Experiment) -> "Federation":
        """Read and check everything that `spec` names; raises `SpecError` or `DataError`."""
        about = origin_of(spec).about
        with about("device"):
            use_device(spec.device, spec.precision)
        with about("data"):
            dataset = spec.data.load().to(spec.device)
        with about("partition"), affordable(spec.partition):
            population = spec.partition.split(dataset.train, dataset.classes, spec.seed)
        with about("cohort"):
            check_cohort(spec.cohort, len(population))
        given = dataset
        with about("model"):
            with affordable(spec.model):
                frozen = spec.model.frozen(partial(_sample, dataset, spec.seed), spec.seed)
                dataset = dataset if frozen is None else mapped(dataset, frozen)
                x, y = dataset.inputs(dataset.train.x[:2]), dataset.train.y[:2]
                network = spec.model.network(dataset.input_shape, dataset.classes, spec.seed, x.dtype)
                network.to(spec.device, spec.dtype)
            check_network(spec.model, network, x, y, dataset.classes)
        compromised, auxiliary = np.zeros(len(population), bool), None
        if spec.attack is not None:
            with about("attack", "presence"):
                compromised = spec.attack.presence.compromised(len(population), spec.seed)
            with about("attack", "objective"):
                auxiliary = spec.attack.objective.auxiliary(given, spec.seed)
            if auxiliary is not None:
                auxiliary = auxiliary if frozen is None else auxiliary.mapped(frozen)
                auxiliary = auxiliary.mapped(network.as_precise)
        return cls(spec, dataset, population, network, network.vector(), auxiliary, compromised)

    @cached_property
    def initial_state(self) -> ServerState:
        """The server before the first round."""
        params, spec, attacker = self.initial, self.spec, Nothing()
        about = origin_of(spec).about
        with seeded(spec.seed, Stream.ROUND, 0):
            with about("defense"), affordable(spec.defense):
                memory = first_memory(spec.defense, spec.defense.init(params, spec.seed))
            if spec.attack is not None:
                with about("attack", "method"):
                    attacker = self._attackers_first(params)
            with about("clip"):
                clip = first_memory(spec.clip, spec.clip.init())
        return ServerState(0, params, memory, clip, attacker)

    def _attackers_first(self, params: Vector) -> Any:
        """The attackers' memory before the first round."""
        method = self.attack.method
        return first_memory(method, method.begin(params, self.attack.objective, self.auxiliary))

    def aimed(self, state: ServerState) -> Auxiliary | None:
        """The attackers' points as they would show them to the model of this state; None without any."""
        if self.auxiliary is None:
            return None
        return self.attack.method.aimed(self.auxiliary, state.attacker)

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
        train = self.dataset.train
        places = torch.from_numpy(indices).to(train.x.device)
        x, y = train.x.index_select(0, places), train.y.index_select(0, places)
        generator = torch_generator(self.spec.seed, Stream.AUGMENT, round, device=x.device)
        inputs = self.network.as_precise(self.dataset.training_inputs(x, generator))
        return LocalData(clients, inputs, y, sizes)

    @cached_property
    def server_data(self) -> LocalData | None:
        """The server's own clean training examples, for a rule that needs some; seen as one more client's."""
        count, truth = self.spec.defense.server_examples, self.dataset.train.y
        if count == 0:
            return None
        if count > len(truth):
            rule = f"{self.spec.defense!r}"
            raise SpecError(f"{rule}: expected at least {count} training examples, found {len(truth)}")
        mine = np.sort(rng(self.spec.seed, Stream.SERVER_DATA).choice(len(truth), count, replace=False))
        inputs = self.network.as_precise(self.dataset.inputs(self.dataset.train.x[mine]))
        return LocalData(np.array([len(self.population)]), inputs, truth[mine], np.array([count]))

    @property
    def attack(self) -> Attack:
        """The attack, where there is one."""
        if self.spec.attack is None:
            raise SpecError("expected an experiment with an attack, found one without")
        return self.spec.attack

    def attacking(self, clients: ClientIds, round: int) -> np.ndarray:
        """Which of `clients` attack in this round, bool."""
        if self.spec.attack is None:
            return np.zeros(len(clients), bool)
        return self.attack.presence.attacking(self.compromised, clients, round, self.spec.seed)


def _sample(dataset: Dataset, seed: int, count: int) -> Tensor:
    """Training inputs without their labels, drawn by the seed; all of them if there are fewer."""
    order = rng(seed, Stream.FEATURES).permutation(len(dataset.train.y))[:count]
    return dataset.inputs(dataset.train.x[np.sort(order)])


@lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, clients: int) -> np.ndarray:
    return rng(seed, Stream.COHORT, epoch).permutation(np.arange(clients, dtype=np.int32))

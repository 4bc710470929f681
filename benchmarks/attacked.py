"""Rounds of an MLP and of a head on MNIST-sized data: what the attack and the anchor add to honest work."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch

from benchmarks.harness import Contender, Goal, Row
from sparsefed.attacks.methods.pgd import PGD, Whole
from sparsefed.clients import Work
from sparsefed.core.seeds import Stream, torch_generator
from sparsefed.data import Data, Dataset, Split
from sparsefed.federation import round as rounds_of
from sparsefed.federation.experiment import Experiment
from sparsefed.federation.round import Federation, run_round

CLIENTS, EXAMPLES = 1000, 6


class Noise(Data):
    """Random images of MNIST's size: 6 for each of 1,000 clients."""

    def load(self) -> Dataset:
        draw = torch.Generator().manual_seed(0)
        count = CLIENTS * EXAMPLES
        images = torch.randint(256, (count + 1000, 1, 28, 28), generator=draw, dtype=torch.uint8)
        labels = torch.randint(10, (count + 1000,), generator=draw)
        return Dataset(Split(images[:count], labels[:count]), Split(images[count:], labels[count:]), 10)


def federation(**changes: Any) -> Federation:
    tree: dict[str, Any] = {
        "rounds": 10**6,
        "cohort": 100,
        "data": Noise(),
        "partition": {"type": "IID", "clients": CLIENTS},
        "model": {"type": "MLP", "hidden": [200, 200]},
        "schedule": {"type": "Constant", "value": 0.1},
        "clip": {"type": "FixedClip", "norm": 0.2},
        "defense": {"type": "SparseFed", "k": 50, "momentum": 0.9},
        "attack": {
            "objective": {"type": "Targeted", "points": 200},
            "presence": {"type": "FixedPerRound", "count": 10},
            "method": {"type": "PGD", "epochs": 5, "batch_size": 50, "local_lr": 0.2},
        },
    }
    return Federation.of(Experiment(**tree | changes))


def rounds(fed: Federation) -> Contender:
    server = SimpleNamespace(state=fed.initial_state)

    def one_round() -> None:
        server.state, _ = run_round(fed, server.state)

    return one_round


def anchor_cost() -> Mapping[str, Contender]:
    """The same unattacked rounds with and without an anchor."""
    anchored = {"type": "InitialModel", "stiffness": 0.003}
    return {
        "with anchor": rounds(federation(attack=None, anchor=anchored)),
        "without": rounds(federation(attack=None)),
    }


def pgd() -> Mapping[str, Contender]:
    """One colluding PGD update of 20 steps against the updates of the whole honest cohort."""
    fed = federation()
    view, honest = attacked(fed), rounds(federation(attack=None))
    generator = torch_generator(0, Stream.PROBE)
    return {"PGD": lambda: view.method.craft(view.view, generator), "honest round": honest}


def span() -> Mapping[str, Contender]:
    """PGD on the whole model against PGD in the span of its points."""

    class Plain(PGD):
        def course(self, view: Any, kept: Any) -> Whole:
            return Whole(view, view.network.gradient, kept)

    fed = federation()
    own, generator = attacked(fed), torch_generator(0, Stream.PROBE)
    plain = Plain(**dict(own.method))
    return {
        "in the span": lambda: own.method.craft(own.view, generator),
        "whole model": lambda: plain.craft(own.view, generator),
    }


def attacked(fed: Federation) -> Any:
    """The view of an attacker in the first round, and its method."""
    cohort, state = fed.cohort(1), fed.initial_state
    data, bad = fed.local_data(cohort, 1), fed.attacking(cohort, 1)
    work = Work(fed.network, state.params, data.of(~bad), 0.1, 0, 1)
    view = rounds_of._view(fed, state, work, data.of(bad), fed.spec.clients.updates(work))
    return SimpleNamespace(view=view, method=fed.attack.method)


def head() -> Mapping[str, Contender]:
    """An attacked round of a head on frozen random convolutions."""
    features = {"type": "RandomConvolutions", "filters": 64, "pool": 7}
    attack = federation().attack
    own = attack.but(method={"type": "PGD", "epochs": 2, "batch_size": 200, "local_lr": 0.2})
    fed = federation(
        model={"type": "Head", "features": features}, defense={"type": "Mean", "momentum": 0.9}, attack=own
    )
    return {"head": rounds(fed)}


ROWS = {
    "anchor_cost": Row("round with an anchor / without", Goal("≤", 1.02), anchor_cost),
    "pgd_honest": Row("colluding PGD, 20 steps on an MLP / an honest round of 100 × 6", Goal("≤", 1.0), pgd),
    "pgd_span": Row("PGD on the whole MLP / in the span of its 200 points", Goal("≥", 2.0), span),
    "head_round": Row("attacked round of a head, 100 × 6", Goal("≤", 25, "ms"), head),
}

"""What the tests of attacks share: one round seen by an attacker, and small runs on the digits."""

import math
from typing import Any

import numpy as np
import small
import torch

import sparsefed as sf
from sparsefed.attacks import (
    ALIE,
    IPM,
    PGD,
    Adaptive,
    AlternatingMinimization,
    Best,
    Blended,
    Boosting,
    Chameleon,
    ConstrainAndScale,
    CoordinateAware,
    CriticalLayers,
    EasiestFirst,
    Equilibrium,
    FangKrum,
    FangTrimmedMean,
    FarPGD,
    Gaussian,
    Independent,
    LabelFlip,
    Method,
    Mimic,
    MinMax,
    MinSum,
    ModelReplacement,
    Neurotoxin,
    OptimizedALIE,
    OptimizedIPM,
    PoisonedFL,
    SemanticBackdoor,
    SignFlip,
    SlowDrip,
    View,
)
from sparsefed.clients import Work
from sparsefed.data import IID, Digits
from sparsefed.federation import round as rounds
from sparsefed.federation.round import Federation, run_round
from sparsefed.models import MLP

DESCENT = {"epochs": 2, "batch_size": 10, "local_lr": 0.2}

METHODS: list[Method] = [
    PGD(**DESCENT),
    PGD(**DESCENT, boost=20, norm=0.3),
    Adaptive(**DESCENT),
    AlternatingMinimization(**DESCENT),
    Blended(method=PGD(**DESCENT)),
    Boosting(factor=20),
    CoordinateAware(**DESCENT, coordinates=50),
    EasiestFirst(**DESCENT, at_once=5),
    Equilibrium(steps=2),
    FangKrum(f=4),
    FangTrimmedMean(),
    FarPGD(**DESCENT),
    Gaussian(),
    Independent(method=PGD(**DESCENT), shards=3),
    LabelFlip(),
    ModelReplacement(**DESCENT),
    SignFlip(),
    SlowDrip(**DESCENT),
    ALIE(),
    OptimizedALIE(tries=4),
    IPM(),
    OptimizedIPM(tries=4),
    MinMax(),
    MinSum(),
    Mimic(),
    Neurotoxin(**DESCENT),
    PoisonedFL(),
    Chameleon(**DESCENT),
    ConstrainAndScale(**DESCENT),
    CriticalLayers(**DESCENT),
    Best(of=[PGD(**DESCENT), OptimizedIPM(tries=4)], ahead=1),
]
COLLUDING = [m for m in METHODS if not isinstance(m, Blended | Independent | LabelFlip | FangTrimmedMean)]


def dropping_out(input_shape: tuple[int, ...], classes: int) -> torch.nn.Module:
    """A model that draws random numbers while it trains."""
    inputs = math.prod(input_shape)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(inputs, classes))


def name(thing: Any) -> str:
    return type(thing).__name__


def federation_of(method: Method, **changes: Any) -> Federation:
    """A federation under attack, with several attackers in every round."""
    return Federation.of(scene(method, **changes))


def scene(method: Method, **changes: Any) -> sf.Experiment:
    """Its experiment."""
    attack = small.attack(
        objective=SemanticBackdoor(source=7, target=1), presence=sf.Pool(fraction=0.4), method=method
    )
    return small.experiment(**{"attack": attack, "cohort": 20, **changes})


def view_of(fed: Federation, after: int = 3) -> View:
    """What the attacker sees in the round after some rounds."""
    state = fed.initial_state
    for _ in range(after):
        state, _ = run_round(fed, state)
    t = state.round + 1
    cohort = fed.cohort(t)
    data, bad = fed.local_data(cohort, t), fed.attacking(cohort, t)
    lr = fed.spec.schedule.lr(t, fed.spec.rounds)
    work = Work(fed.network, state.params, data.of(~bad), lr, fed.spec.seed, t)
    honest = fed.spec.clients.updates(work).admitted(fed.spec.clip.norm_at(lr, state.clip))
    return rounds._view(fed, state, work, data.of(bad), honest)


def run(method: Method, **changes: Any) -> dict[str, Any]:
    """A run on the digits that is long enough to learn them: 96 % without any attack."""
    parts: dict[str, Any] = {
        "objective": sf.Targeted(points=40),
        "presence": sf.Pool(fraction=0.1),
        "method": method,
    }
    attack = {key: changes.pop(key) for key in ("objective", "presence") if key in changes}
    base: dict[str, Any] = {
        "seed": 1,
        "rounds": 150,
        "cohort": 20,
        "data": Digits(),
        "partition": IID(clients=200),
        "model": MLP(hidden=(32,)),
        "schedule": sf.Triangular(peak=0.3),
        "clip": sf.Unclipped(),
        "defense": sf.Mean(momentum=0.9),
        "evaluate_every": 50,
        "attack": sf.Attack(**{**parts, **attack}),
    }
    return sf.simulate(sf.Experiment(**{**base, **changes}))


def lengths(rows: Any) -> np.ndarray:
    return rows.double().norm(dim=1).numpy()

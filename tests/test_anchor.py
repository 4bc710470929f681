"""The anchor: θ ← θ − Δ − λη(θ − θ₀), after any rule."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small
import torch
from hypothesis import given, strategies as st

import sparsefed as sf
from sparsefed.attacks import FixedPerRound, Untargeted
from sparsefed.clients import Work
from sparsefed.federation.round import Federation, run_round
from sparsefed.protocol.updates import Dense

STIFF = sf.InitialModel(stiffness=0.5)
RULES = [
    sf.Mean(momentum=0.9),
    sf.SparseFed(k=50, momentum=0.9, error_decay=0.9),
    sf.FetchSGD(k=50, rows=3, columns=2000, momentum=0.9),
    sf.TrimmedMean(f=1),
    sf.GaussianNoise(sigma=0.01),
]
MODES = [sf.Gradient(), sf.FedAvg(local_epochs=2, local_lr=0.1)]


@pytest.mark.parametrize("clients", MODES, ids=repr)
@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_a_round_is_the_rule_and_the_pull(rule: sf.Defense, clients: sf.Clients) -> None:
    spec = small.experiment(defense=rule, clients=clients, anchor=STIFF, precision="float64")
    fed = Federation.of(spec)
    state, start = fed.initial_state, fed.network.vector()
    for t in range(1, 5):
        lr = spec.schedule.lr(t, spec.rounds)
        work = Work(fed.network, state.params, fed.local_data(fed.cohort(t), t), lr, spec.seed, t)
        admitted = clients.updates(work).admitted(1.0)
        delta, _ = rule.step(admitted, state.memory, clients.server_lr(lr))
        expected = state.params - delta - lr * 0.5 * (state.params - start)
        state, _ = run_round(fed, state)
        torch.testing.assert_close(state.params, expected, rtol=1e-12, atol=1e-14)
    assert not torch.equal(state.params, start)


@given(
    distance=st.floats(-10, 10),
    stiffness=st.floats(1e-6, 1.0),
    lr=st.floats(1e-6, 1.0),
)
def test_a_pull_shortens_every_distance_by_the_same_factor(
    distance: float, stiffness: float, lr: float
) -> None:
    initial = torch.tensor([1.0, -2.0], dtype=torch.float64)
    params = initial + distance
    pulled = sf.InitialModel(stiffness=stiffness).pulled(params, initial, lr)
    torch.testing.assert_close(pulled - initial, (1 - lr * stiffness) * (params - initial))
    assert torch.equal(params, initial + distance)


def test_without_an_anchor_nothing_is_computed() -> None:
    params = torch.randn(3)
    assert sf.Unanchored().pulled(params, torch.zeros(3), 0.1) is params


def test_an_anchor_that_would_overshoot_is_refused_with_the_stiffest_that_would_not() -> None:
    with pytest.raises(sf.SpecError, match=r"a stiffness of at most 1/λ, 5\.11 for λ up to 0\.196, found 6"):
        small.experiment(anchor=sf.InitialModel(stiffness=6.0))
    assert small.experiment(anchor={"type": "InitialModel", "stiffness": 5.0}).anchor.stiffness == 5.0


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan])
def test_a_stiffness_is_positive(bad: float) -> None:
    with pytest.raises(sf.SpecError, match="stiffness"):
        sf.InitialModel(stiffness=bad)


def test_a_stopped_run_with_an_anchor_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    spec = small.experiment(anchor=STIFF, attack=small.attack(), twin=True)
    whole = sf.simulate(spec)
    rows = sf.play(spec, tmp_path)
    for _ in range(7):
        next(rows)
    rows.close()
    again = sf.simulate(spec, tmp_path)
    assert again["loss"] == whole["loss"]
    assert again["distance_l2"] == whole["distance_l2"]


def test_an_anchored_twin_is_the_unattacked_run() -> None:
    spec = small.experiment(anchor=STIFF, attack=small.attack(presence=sf.attacks.Nobody()), twin=True)
    assert sf.simulate(spec)["distance_l1"] == 0.0


def test_single_precision_follows_double() -> None:
    ends = []
    for precision in ("float32", "float64"):
        fed = Federation.of(
            small.experiment(anchor=STIFF, defense=sf.Mean(momentum=0.9), precision=precision)
        )
        state = fed.initial_state
        for _ in range(20):
            state, _ = run_round(fed, state)
        ends.append(state.params.double())
    torch.testing.assert_close(*ends, rtol=1e-3, atol=1e-4)


class Idle(sf.Clients):
    """Honest clients that have nothing left to learn."""

    def updates(self, work: Work) -> Dense:
        return Dense(work.params.new_zeros(len(work.data.sizes), len(work.params)))

    def server_lr(self, lr: float) -> float:
        return lr


class Push(sf.Colluding):
    """The same direction in every round, as hard as the clip allows."""

    def vector(self, view: sf.View, generator: torch.Generator) -> torch.Tensor:
        return torch.eye(1, len(view.params), dtype=view.params.dtype)[0]


def displacements(rule: sf.Defense, **changes: Any) -> np.ndarray:
    """How far 3 attackers of 10 have pushed the model after each of 400 rounds; L = 2, η = 0.2."""
    spec = small.experiment(
        **{"schedule": sf.Constant(value=0.5), **changes},
        rounds=400,
        clients=Idle(),
        clip=sf.FixedClip(norm=2.0),
        defense=rule,
        anchor=sf.InitialModel(stiffness=0.2),
        precision="float64",
        attack=sf.Attack(objective=Untargeted(), presence=FixedPerRound(count=3), method=Push()),
    )
    fed = Federation.of(spec)
    state, seen = fed.initial_state, []
    for _ in range(spec.rounds):
        state, _ = run_round(fed, state)
        seen.append(float((state.params - fed.initial).norm()))
    return np.array(seen)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("schedule", [sf.Constant(value=0.5), sf.Triangular(peak=4.0)], ids=repr)
def test_the_worst_push_reaches_the_bound_of_the_mean_and_never_passes_it(
    momentum: float, schedule: sf.Schedule
) -> None:
    bound = 0.3 * 2.0 / (0.2 * (1 - momentum))  # pL/(η(1 − μ))
    seen = displacements(sf.Mean(momentum=momentum), schedule=schedule)
    assert seen.max() <= bound * (1 + 1e-12)
    assert seen.max() > 0.99 * bound


@pytest.mark.parametrize("decay", [1.0, 0.9])
def test_the_worst_push_stays_within_the_bound_of_sparsefed(decay: float) -> None:
    rule = sf.SparseFed(k=50, momentum=0.9, error_decay=decay)
    size, push = 64 * 16 + 16 + 16 * 10 + 10, 0.3 * 2.0 / (1 - 0.9)
    memory = sf.certify.error_bound_l2(size, 50, push, decay)
    bound = sf.certify.held([0.5] * 400, stiffness=0.2, push=push, memory=memory, decay=decay)
    assert (displacements(rule) <= bound * (1 + 1e-12)).all()


def test_without_an_anchor_the_same_push_has_no_bound() -> None:
    bound = sf.certify.held([0.5] * 400, stiffness=0.0, push=0.6)
    assert math.isclose(bound[-1], 400 * 0.5 * 0.6)

"""Whatever a module draws is a function of seed, purpose, round and client."""

import random
from typing import Any

import drawing
import numpy as np
import pytest
import small
import torch
from drawing import MODULES
from torch import nn

import sparsefed as sf
from sparsefed.clients import LocalData, Work
from sparsefed.clients.loop import Loop
from sparsefed.clients.trust import SlowModel
from sparsefed.models.network import Network

pytestmark = pytest.mark.filterwarnings("ignore::sparsefed.clients.trust.SlowModel")

CLIENTS = {"gradient": sf.Gradient(), "local training": sf.FedAvg(batch_size=4)}
every_module = pytest.mark.parametrize("kind", [module.__name__ for module in MODULES])


def experiment(kind: str, **changes: Any) -> sf.Experiment:
    parts = {"rounds": 4, "evaluate_every": 1, "model": {"type": "drawing:build", "kind": kind}}
    return small.experiment(**{**parts, **changes})


def disturb() -> None:
    torch.rand(3)
    np.random.random(3)  # noqa: NPY002
    random.random()


@pytest.mark.parametrize("clients", CLIENTS)
@every_module
def test_a_run_is_the_same_whatever_ran_before(kind, clients):
    spec = experiment(kind, clients=CLIENTS[clients])
    first = sf.simulate(spec)
    disturb()
    assert sf.simulate(spec)["loss"] == first["loss"]


@every_module
def test_a_stopped_run_goes_on_to_the_same_end(kind, tmp_path):
    spec = experiment(kind)
    whole = sf.simulate(spec)
    rows = sf.play(spec, tmp_path)
    next(rows)
    next(rows)
    rows.close()
    disturb()
    assert sf.simulate(spec, tmp_path)["loss"] == whole["loss"]


@every_module
def test_a_twin_is_the_same_until_the_attack(kind):
    attack = small.attack(presence=sf.attacks.Once(count=2, round=4))
    rows = list(sf.play(experiment(kind, attack=attack, twin=True)))
    for row in rows[:3]:
        assert row["loss"] == row["twin_loss"]
    assert rows[3]["loss"] != rows[3]["twin_loss"]


@every_module
def test_an_attack_is_the_same_whatever_ran_before(kind):
    spec = experiment(kind, attack=small.attack(presence=sf.Pool(fraction=0.4)))
    first = sf.simulate(spec)
    disturb()
    assert sf.simulate(spec)["loss"] == first["loss"]


def work_of(kind: str, clients: list[int], seed: int = 0, round: int = 1) -> Work:
    """Clients of six examples; a client's own are the same in every cohort."""
    network = Network(drawing.build((64,), 10, kind).double())
    draw = [torch.Generator().manual_seed(client) for client in clients]
    inputs = torch.cat([torch.randn(6, 64, generator=g, dtype=torch.float64) for g in draw])
    labels = torch.cat([torch.randint(10, (6,), generator=g) for g in draw])
    data = LocalData(np.array(clients), inputs, labels, np.full(len(clients), 6))
    return Work(network, torch.linspace(-1, 1, network.size).double(), data, 0.1, seed, round)


@pytest.mark.parametrize("clients", CLIENTS)
@every_module
def test_a_client_draws_the_same_in_any_company(kind, clients):
    update = CLIENTS[clients].updates
    together = update(work_of(kind, [3, 7, 5])).rows()
    alone = update(work_of(kind, [7])).rows()
    torch.testing.assert_close(together[1], alone[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("change", [{"seed": 1}, {"round": 2}, {"clients": [8]}])
@every_module
def test_another_seed_round_or_client_draws_other_numbers(kind, change):
    work = work_of(kind, [7])
    other = work_of(kind, **{"clients": [7], **change})
    other = other._replace(data=work.data._replace(clients=other.data.clients), network=work.network)
    draws = [
        torch.stack(
            [sf.Gradient().updates(one._replace(round=one.round + step)).rows() for step in (0, 5, 9)]
        )
        for one in (work, other)
    ]
    assert not torch.equal(*draws)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("Drawing", "Drawing"), ("Attends", "MultiheadAttention"), ("Recurs", "LSTM"), ("SkipsLayers", "Skips")],
)
def test_the_warning_names_the_type_of_what_draws(kind, name):
    with pytest.warns(SlowModel, match=f"{name}.* draws random numbers"):
        assert isinstance(sf.Gradient().updates(work_of(kind, [1, 2])).source, Loop)


@every_module
def test_the_global_generators_are_left_as_they_were(kind):
    def states():
        return torch.get_rng_state().numpy(), np.random.get_state(), random.getstate()  # noqa: NPY002

    before = states()
    sf.simulate(experiment(kind, rounds=1, attack=small.attack()))
    np.testing.assert_equal(states(), before)


def test_a_module_that_draws_nothing_keeps_the_fast_engine(recwarn):
    network = Network(nn.Sequential(nn.Linear(64, 10), nn.Dropout(0.0), nn.RReLU().eval()).double())
    work = work_of("Drawing", [1, 2])._replace(network=network, params=network.vector())
    source = sf.Gradient().updates(work).source
    assert not isinstance(source, Loop)
    assert not recwarn


class NoisyMean(sf.Mean):
    """A rule of a user's own that draws from PyTorch's global generator."""

    def step(self, updates, state, lr=1.0):
        delta, state = super().step(updates, state, lr)
        return delta + 1e-3 * torch.randn_like(delta), state


def test_a_rule_of_one_s_own_may_draw_too():
    spec = small.experiment(rounds=2, defense=NoisyMean())
    first = sf.simulate(spec)
    disturb()
    assert sf.simulate(spec)["loss"] == first["loss"]

"""examples/paper_repository.toml is the round of the paper's own repository, λ inside the memories."""

from pathlib import Path

import numpy as np
import oracles
import torch

import sparsefed as sf
from sparsefed.data import Digits, OneClass
from sparsefed.federation.round import Federation, run_round
from sparsefed.models import MLP

WIDTHS, K, ROUNDS = (64, 16, 10), 50, 20
EXAMPLE = Path(__file__).parents[1] / "examples" / "paper_repository.toml"


def small(spec: sf.Experiment) -> Federation:
    """The example's round on data, clients and a model that a test has time for."""
    sizes = {"rounds": ROUNDS, "cohort": 10, "partition": OneClass(clients=100), "model": MLP(hidden=(16,))}
    rule, clip = spec.defense.but(k=K), spec.clip.but(norm=0.5)
    return Federation.of(
        spec.but(data=Digits(), precision="float64", defense=rule, clip=clip, attack=None, **sizes)
    )


def path(fed: Federation) -> list[np.ndarray]:
    state, thetas = fed.initial_state, []
    for _ in range(ROUNDS):
        thetas.append(state.params.numpy())
        state, _ = run_round(fed, state)
    return [*thetas, state.params.numpy()]


def test_the_example_follows_the_papers_own_repository_to_rounding():
    fed = small(sf.read_experiment(EXAMPLE))
    found = path(fed)
    theta = found[0]
    R, W = np.zeros_like(theta), np.zeros_like(theta)
    for t in range(1, ROUNDS + 1):
        gradients = []
        for client in fed.cohort(t):
            data = fed.local_data(np.array([client]), t)
            gradients.append(oracles.mlp_gradient(theta, data.inputs.numpy(), data.labels.numpy(), WIDTHS))
        lam = fed.spec.schedule.lr(t, ROUNDS)
        theta, R, W = oracles.paper_repository_round(theta, R, W, gradients, L=0.5, k=K, rho=0.9, lam=lam)
        assert np.abs(found[t] - theta).max() <= 2e-15, t
    assert torch.equal(torch.from_numpy(found[0]), fed.initial_state.params)


def test_the_learning_rate_after_the_top_k_is_another_path():
    spec = sf.read_experiment(EXAMPLE)
    inside = path(small(spec))
    after = path(small(spec.but(clients=sf.Gradient(), clip=sf.FixedClip(norm=5.0))))
    apart = np.linalg.norm(inside[-1] - after[-1]) / np.linalg.norm(inside[-1] - inside[0])
    assert 0.05 < apart < 1

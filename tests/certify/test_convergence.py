"""The convergence bound beside measured gradient norms, on digits and on a noisy problem."""

import numpy as np
import pytest
import torch
from certify_protocols import SoftmaxRegression, top_k_rows
from hypothesis import given, strategies as st

from sparsefed.certify import convergence_bound, softmax_oracle
from sparsefed.certify.convergence import descent
from sparsefed.core.errors import SpecError
from sparsefed.data import IID, Digits
from sparsefed.defenses import SparseFed
from sparsefed.federation.experiment import Experiment
from sparsefed.models import Linear
from sparsefed.protocol.clips import FixedClip
from sparsefed.protocol.schedules import Constant, Triangular


@pytest.mark.parametrize("k", [20, 160, 640])
def test_sparsefed_on_digits_converges_no_slower_than_the_bound(k):
    data = Digits().load()
    digits = SoftmaxRegression(data.inputs(data.train.x)[:300].flatten(1), data.train.y[:300])
    theta, error = torch.zeros(2, 1, digits.params, dtype=torch.float64)
    smoothness, lr, rounds = softmax_oracle(digits.inputs).smoothness, 0.2, 80
    squares = []
    for t in range(rounds + 1):
        gradient = digits.gradient(theta)
        squares.append(float(gradient.square().sum()))
        error = error + gradient
        delta = top_k_rows(error, k)
        theta, error = theta - lr * delta, error - delta
        bound = convergence_bound(
            t,
            lr=lr,
            excess_loss=np.log(10),
            smoothness=smoothness,
            moment=max(squares),
            params=digits.params,
            k=k,
        )
        assert min(squares) <= bound
    assert min(squares) < squares[0] / 2


@given(seed=st.integers(0, 999), k=st.integers(1, 5), lr=st.floats(0.01, 1.0))
def test_noisy_quadratics_obey_the_bound_on_average(seed, k, lr):
    """ℒ = ‖θ‖²/2 with gradients of noise; the expectation is taken over 400 runs."""
    rng, rounds, params = np.random.default_rng(seed), 15, 5
    theta, error = np.full((400, params), 2.0), np.zeros((400, params))
    norms, moments = [], []
    for _ in range(rounds + 1):
        gradient = theta + rng.normal(size=theta.shape)
        norms.append(np.square(theta).sum(1).mean())
        moments.append(np.square(gradient).sum(1).mean())
        error = error + gradient
        delta = top_k_rows(torch.from_numpy(error), k).numpy()
        theta, error = theta - lr * delta, error - delta
    numbers = {"lr": lr, "excess_loss": 10.0, "smoothness": 1.0, "params": params, "k": k}
    assert min(norms) <= convergence_bound(rounds, moment=max(moments) * 1.1, **numbers)


def test_at_the_papers_scale_the_sparsity_term_dominates_for_all_its_rounds():
    numbers = {"excess_loss": 2.3, "smoothness": 1.0, "moment": 1.0, "params": 6_568_640}
    sparse = convergence_bound(2400, lr=2401**-0.5, k=1000, **numbers)
    dense = convergence_bound(2400, lr=2401**-0.5, k=6_568_640, **numbers)
    assert dense < 0.2
    assert sparse > 1e4


def test_impossible_input_says_found_and_needed():
    numbers = {"excess_loss": 1.0, "smoothness": 1.0, "moment": 1.0, "params": 10, "k": 2}
    with pytest.raises(SpecError, match="lr: expected a learning rate above 0, found 0"):
        convergence_bound(10, lr=0.0, **numbers)
    with pytest.raises(SpecError, match="k: expected at most the number of parameters, 10, found 11"):
        convergence_bound(10, lr=0.1, **(numbers | {"k": 11}))
    with pytest.raises(SpecError, match="moment: expected a finite number of at least 0, found nan"):
        convergence_bound(10, lr=0.1, **(numbers | {"moment": float("nan")}))


EXPERIMENT = Experiment(
    rounds=25,
    cohort=10,
    data=Digits(),
    partition=IID(clients=40),
    model=Linear(zeros=True),
    schedule=Constant(value=0.2),
    clip=FixedClip(norm=10.0),
    defense=SparseFed(k=325),
    precision="float64",
)


def test_an_experiment_with_sampled_cohorts_obeys_the_bound_in_every_round():
    rows = descent(EXPERIMENT)
    assert len(rows) == 25
    assert all(row.least <= row.bound for row in rows)
    assert rows[-1].least < 0.7 * rows[0].squared_norm


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"schedule": Triangular(peak=0.1)}, "a constant learning rate, found Triangular"),
        ({"defense": SparseFed(k=5, momentum=0.9)}, "a server without momentum, found SparseFed"),
        ({"clip": FixedClip(norm=0.1)}, "a clip norm of at least"),
    ],
)
def test_where_the_theorem_does_not_apply_it_says_so(changes, complaint):
    with pytest.raises(SpecError, match=complaint):
        descent(EXPERIMENT.but(rounds=2, **changes))

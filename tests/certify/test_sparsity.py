"""γ and ω: what is measured along a run is what Definitions 4 and 5 say, and within the a-priori bounds."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

import sparsefed
from sparsefed.certify import measure, memory_bound, prior_gamma, prior_omega
from sparsefed.core.errors import SpecError


def play(rule, seed, rounds=12):
    """The updates u, the steps A(u), and both memories of each round of a rule on random updates."""
    rng = np.random.default_rng(seed)
    state = rule.init(torch.zeros(10, dtype=torch.float64))
    for _ in range(rounds):
        updates = sparsefed.dense(rng.standard_t(2, size=(5, 10))).admitted(2.0)
        delta, after = rule.step(updates, state, lr=0.1)
        yield updates.mean(), delta / 0.1, state, after
        state = after


@given(seed=st.integers(0, 9999), k=st.integers(1, 10), momentum=st.sampled_from([0.0, 0.5, 0.9]))
def test_measured_gamma_and_omega_are_those_of_the_definitions(seed, k, momentum):
    rule = sparsefed.SparseFed(k=k, momentum=momentum)
    for update, delta, before, after in play(rule, seed):
        found = measure(before, after, delta, momentum)
        entered = before.error + momentum * before.velocity + update  # W + R
        assert found.gamma == pytest.approx(float((delta - update).abs().sum()), abs=1e-9)
        assert found.omega == pytest.approx(1 - float(delta.abs().sum() / entered.abs().sum()), abs=1e-9)
        assert found.moved <= k


@given(seed=st.integers(0, 9999), k=st.integers(1, 10), momentum=st.sampled_from([0.0, 0.5, 0.9]))
def test_the_lemmas_hold_on_every_run(seed, k, momentum):
    omega, mass = prior_omega(10, k), 2.0 * math.sqrt(10)  # L√d
    for _, delta, before, after in play(sparsefed.SparseFed(k=k, momentum=momentum), seed):
        found = measure(before, after, delta, momentum)
        assert found.omega <= omega + 1e-12
        assert float(after.error.abs().sum()) <= memory_bound(omega, mass, momentum) + 1e-9
        assert found.gamma <= prior_gamma(omega, mass, momentum) + 1e-9


@given(seed=st.integers(0, 9999), momentum=st.sampled_from([0.0, 0.9]))
def test_the_plain_mean_with_momentum_leaves_its_velocity_only(seed, momentum):
    for update, delta, before, after in play(sparsefed.Mean(momentum=momentum), seed):
        found = measure(before, after, delta, momentum)
        assert found.gamma == pytest.approx(float((delta - update).abs().sum()), abs=1e-9)
        assert found.gamma <= prior_gamma(0.0, 2.0 * math.sqrt(10), momentum) + 1e-9
        assert found.omega == 0


def test_the_a_priori_bound_is_vacuous_at_the_papers_scale():
    gamma = prior_gamma(prior_omega(6_568_640, 1000), 5 * math.sqrt(6_568_640))
    assert gamma == pytest.approx(1.7e8, rel=0.02)


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: prior_omega(10, 11), "k: expected at most the number of parameters, 10, found 11"),
        (lambda: prior_gamma(1.0, 1.0), "omega: expected a number of at least 0 and below 1, found 1.0"),
        (
            lambda: prior_gamma(0.5, 1.0, momentum=1.0),
            "momentum: expected a number of at least 0 and below 1",
        ),
        (lambda: prior_gamma(0.5, -1.0), "mass: expected a finite number of at least 0, found -1.0"),
        (
            lambda: measure(None, None, torch.zeros(1)),
            "two memories of SparseFed or two of Mean, found NoneType",
        ),
    ],
)
def test_impossible_input_says_found_and_needed(call, complaint):
    with pytest.raises(SpecError, match=complaint):
        call()

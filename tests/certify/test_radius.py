"""The recursion of the certified radius: reached by the worst protocols, exceeded by none."""

import math

import mpmath
import numpy as np
import pytest
from certify_protocols import worst_dense, worst_sparse
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from sparsefed.certify import algorithm3, log_radii, log_radius, log_weights, theorem1, theorem2, width
from sparsefed.core.errors import SpecError

LRS = st.lists(st.floats(1e-4, 3.0), min_size=1, max_size=12)
CONSTANT = st.floats(1e-6, 5.0)


def test_the_bernoulli_counterexample_is_within_the_recursion_and_outside_theorem_1():
    lrs = [0.1] * 10
    (*_, distance) = worst_dense(lrs, [1.0] * 10, params=10, budgets=[1.0] * 10)
    printed = theorem1(lrs, lipschitz=1.0, params=10, budget=1.0)
    assert distance == pytest.approx(102.3)
    assert math.exp(printed.log_radius) == pytest.approx(11.0)
    assert not printed.valid
    assert math.exp(log_radius(lrs, lipschitz=1.0, params=10, budget=1.0)) == pytest.approx(102.3)


@given(lrs=LRS, params=st.integers(1, 30), data=st.data())
def test_a_linear_protocol_reaches_the_dense_recursion_exactly(lrs, params, data):
    rounds = len(lrs)
    c = data.draw(arrays(float, rounds, elements=CONSTANT))
    budgets = data.draw(arrays(float, rounds, elements=CONSTANT))
    reached = worst_dense(lrs, c, params, budgets)
    assert log_radii(lrs, lipschitz=c, params=params, budget=budgets) == pytest.approx(
        np.log(reached), abs=1e-9
    )


@given(lrs=LRS, c=CONSTANT, k=st.integers(1, 10), budget=CONSTANT, gamma=CONSTANT)
def test_a_sparse_protocol_reaches_the_recursion_with_2k_and_2_gamma_exactly(lrs, c, k, budget, gamma):
    reached = worst_sparse(lrs, c, k, budget, gamma)
    radii = log_radii(lrs, lipschitz=c, params=2 * k, k=k, budget=budget, gamma=gamma)
    assert radii == pytest.approx(np.log(reached), abs=1e-9)


def test_half_of_the_residue_is_not_enough():
    """Algorithm 3 as listed counts γ once; a protocol exists that goes beyond it."""
    lrs, numbers = [0.5] * 5, {"budget": 1.0, "gamma": 2.0}
    (*_, distance) = worst_sparse(lrs, 0.1, 3, **numbers)
    listed = algorithm3(lrs, lipschitz=0.1, params=6, k=3, **numbers)
    assert distance > math.exp(listed.log_radius)
    assert not listed.valid


@given(lrs=LRS, c=CONSTANT, k=st.integers(1, 40), budget=CONSTANT, gamma=CONSTANT)
def test_one_constant_shock_gives_the_product_form(lrs, c, k, budget, gamma):
    params = 40
    a = c * min(params, 2 * k)
    with mpmath.workdps(40):
        product = mpmath.fprod(1 + mpmath.mpf(a) * lr for lr in lrs)
        exact = mpmath.log((budget + 2 * mpmath.mpf(gamma)) * (product - 1) / a)
    found = log_radius(lrs, lipschitz=c, params=params, k=k, budget=budget, gamma=gamma)
    assert found == pytest.approx(float(exact), abs=1e-10)


@pytest.mark.parametrize("rounds", [1, 2400])
@pytest.mark.parametrize("c", [1e-12, 1.0, 1e6])
def test_long_runs_agree_with_arbitrary_precision(rounds, c):
    rng = np.random.default_rng(rounds)
    lrs, budget, gamma = (
        rng.uniform(1e-4, 0.2, rounds),
        rng.uniform(0, 9, rounds),
        rng.uniform(0, 1e8, rounds),
    )
    with mpmath.workdps(50):
        radius = mpmath.mpf(0)
        for lr, rho, residue in zip(lrs, budget, gamma, strict=True):
            radius = radius * (1 + mpmath.mpf(c) * 2000 * lr) + lr * (
                mpmath.mpf(rho) + 2 * mpmath.mpf(residue)
            )
        exact = float(mpmath.log(radius))
    found = log_radius(lrs, lipschitz=c, params=6_568_640, k=1000, budget=budget, gamma=gamma)
    assert found == pytest.approx(exact, rel=1e-12, abs=1e-11)


def test_no_size_overflows():
    huge = log_radius([1e300] * 1000, lipschitz=1e300, params=10**9, k=5, budget=1e300, gamma=1e300)
    assert math.isfinite(huge)
    assert huge == pytest.approx(1000 * math.log(1e300) + 999 * math.log(1e301) + math.log(3e300), rel=1e-6)


def test_without_poison_and_residue_the_radius_is_zero():
    assert log_radius([0.1] * 5, lipschitz=1.0, params=10, budget=0.0) == -math.inf


def test_k_equal_to_all_parameters_is_the_dense_protocol():
    numbers = {"lipschitz": 0.3, "params": 7, "budget": 2.0}
    assert log_radius([0.1] * 9, k=7, **numbers) == log_radius([0.1] * 9, k=None, **numbers)
    assert [width(7, k) for k in (1, 3, 4, 7)] == [2, 6, 7, 7]


@given(lrs=LRS, a=CONSTANT, momentum=st.sampled_from([0.0, 0.5, 0.9]), data=st.data())
def test_the_radius_is_the_weighted_sum_of_the_shocks(lrs, a, momentum, data):
    budgets = data.draw(arrays(float, len(lrs), elements=CONSTANT))
    weights = log_weights(lrs, growth=a, momentum=momentum)
    whole = log_radius(lrs, lipschitz=a, params=1, budget=budgets, momentum=momentum)
    assert np.logaddexp.reduce(weights + np.log(budgets)) == pytest.approx(whole, abs=1e-9)


@given(lrs=LRS, c=CONSTANT, budget=CONSTANT, momentum=st.floats(0, 0.95), params=st.integers(1, 8))
def test_heavy_ball_of_the_worst_linear_protocol_reaches_the_radius(lrs, c, budget, momentum, params):
    velocity = distance = np.zeros(params)
    for lr in lrs:
        velocity = momentum * velocity - c * distance.sum() - budget * np.eye(params)[0]
        distance = distance - lr * velocity
    found = log_radius(lrs, lipschitz=c, params=params, budget=budget, momentum=momentum)
    assert found == pytest.approx(math.log(np.abs(distance).sum()), abs=1e-9)


@given(
    lrs=st.lists(st.floats(1.0, 3.0), min_size=1, max_size=8), c=CONSTANT, k=st.integers(1, 9), gamma=CONSTANT
)
def test_where_every_rate_is_at_least_1_the_printed_theorem_holds(lrs, c, k, gamma):
    numbers = {"lipschitz": c, "params": 9, "k": k, "budget": 1.0, "gamma": gamma}
    printed = theorem2(lrs, **numbers)
    assert printed.valid
    assert printed.log_radius >= log_radius(lrs, **numbers) - 1e-9


@given(lrs=st.lists(st.floats(1e-3, 0.99), min_size=2, max_size=8), c=st.floats(0.01, 5.0))
def test_where_every_rate_is_below_1_the_printed_theorem_is_flagged(lrs, c):
    printed = theorem1(lrs, lipschitz=c, params=9, budget=1.0)
    assert not printed.valid
    assert f"{min(lrs):g}" in printed.reason


def test_algorithm_3_is_the_recursion_where_gamma_is_0():
    listed = algorithm3([0.1, 0.3], lipschitz=0.2, params=100, k=4, budget=3.0)
    assert listed.valid
    assert listed.log_radius == log_radius([0.1, 0.3], lipschitz=0.2, params=100, k=4, budget=3.0)


GOOD = {"lrs": [0.1] * 3, "lipschitz": 1.0, "params": 10, "k": 4, "budget": 1.0}


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ({"k": 11}, "k: expected at most the number of parameters, 10, found 11"),
        ({"k": 0}, "k: expected a whole number of at least 1, found 0"),
        ({"k": 2.5}, "k: expected a whole number of at least 1, found 2.5"),
        ({"params": 0}, "params: expected a whole number of at least 1, found 0"),
        ({"budget": -1.0}, "budget: expected finite numbers of at least 0, found -1.0"),
        ({"budget": math.nan}, "budget: expected finite numbers of at least 0, found nan"),
        ({"gamma": math.inf}, "gamma: expected finite numbers of at least 0, found inf"),
        (
            {"lipschitz": [1.0, 2.0]},
            "lipschitz: expected one number or one for each of the 3 rounds, found shape [2]",
        ),
        ({"lipschitz": "c"}, "lipschitz: expected numbers, found 'c'"),
        ({"lrs": [0.1, 0.0, 0.1]}, "lrs: expected finite learning rates above 0, found 0.0 in round 2"),
        ({"lrs": [0.1, -0.1]}, "lrs: expected finite learning rates above 0, found -0.1 in round 2"),
        ({"lrs": 0.1}, "lrs: expected one learning rate per round ([0.1] * rounds, say), found 0.1"),
        ({"lrs": []}, "lrs: expected one learning rate per round ([0.1] * rounds, say), found []"),
        ({"momentum": 1.0, "k": None}, "momentum: expected a number of at least 0 and below 1, found 1.0"),
        (
            {"momentum": 0.9},
            "expected the dense protocol (k = params) for momentum inside the recursion, found k=4",
        ),
    ],
)
def test_impossible_input_says_found_and_needed(bad, complaint):
    numbers = GOOD | bad
    with pytest.raises(SpecError) as caught:
        log_radius(numbers.pop("lrs"), **numbers)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)

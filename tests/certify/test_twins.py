"""Benign and poisoned twins on real digits: no poison within the budget, drawn or searched, beats a radius.

`benchmarks/certificate.py` does the same with thousands, and reports how tight the radii are.
"""

import pytest
import torch
from certify_protocols import SoftmaxRegression
from certify_twins import Twins

from sparsefed.data import MNIST, Digits

SERVERS = [(None, 0.0), (None, 0.9), (0.1, 0.0), (0.5, 0.0), (0.1, 0.9)]  # k/d, momentum


def first(data, count: int) -> SoftmaxRegression:
    loaded = data.load()
    return SoftmaxRegression(loaded.inputs(loaded.train.x[:count]).flatten(1), loaded.train.y[:count])


@pytest.fixture(scope="module")
def digits() -> SoftmaxRegression:
    return first(Digits(), 120)


@pytest.fixture(scope="module")
def mnist(shared_data) -> SoftmaxRegression:
    return first(MNIST(folder=shared_data / "mnist"), 60)


def check(
    regression: SoftmaxRegression, share: float | None, momentum: float, models: int
) -> dict[str, float]:
    k = None if share is None else round(share * regression.params)
    twins = Twins(regression, k, momentum)
    drawn = twins.random(models)
    return bool(twins.checked(torch.cat([drawn, twins.searched(drawn)], dim=1)))


@pytest.mark.parametrize(("share", "momentum"), SERVERS)
def test_no_poison_within_the_budget_beats_a_radius_on_digits(digits, share, momentum):
    assert check(digits, share, momentum, models=120)


@pytest.mark.parametrize(("share", "momentum"), SERVERS)
def test_no_poison_within_the_budget_beats_a_radius_on_mnist(mnist, share, momentum):
    assert check(mnist, share, momentum, models=8)


def test_searching_finds_more_than_chance_and_a_fair_part_of_the_dense_radius(digits):
    twins = Twins(digits, None, 0.0)
    drawn = twins.random(40)
    by_chance, by_search = (twins.checked(poison)["recursion"] for poison in (drawn, twins.searched(drawn)))
    assert by_chance < by_search
    assert by_search > 0.2


def test_scaling_the_inputs_is_scaling_the_rate(digits):
    """Inputs times s and rates over s²: the same logits. Only the product decides what is certified."""
    s = 0.25
    smaller = SoftmaxRegression(s * digits.inputs, digits.targets.argmax(1))
    one, other = Twins(digits, None, 0.0), Twins(smaller, None, 0.0)
    assert other.lrs == pytest.approx(one.lrs / s**2)
    logits = [t.regression.inputs @ t.benign()[0].view(10, -1).T for t in (one, other)]
    assert torch.allclose(*logits)

"""SparseFed's memory counts once: the two radii that the paper does not have, on protocols of their own."""

import math

import numpy as np
import pytest
import torch
from certify_protocols import SoftmaxRegression, descend
from hypothesis import given, strategies as st

from sparsefed.certify import (
    convex_radii,
    error_bound_l2,
    held,
    log_memory_radii,
    log_radii,
    memory_bound,
    prior_omega,
    softmax_oracle,
)
from sparsefed.certify.memory import memory_weights
from sparsefed.core.errors import SpecError


@given(
    seed=st.integers(0, 9999),
    lrs=st.lists(st.floats(0.01, 0.5), min_size=1, max_size=10),
    k=st.integers(1, 12),
    strength=st.floats(0.01, 2.0),
)
def test_both_radii_hold_for_random_data_rates_and_poison(seed, lrs, k, strength):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    regression = SoftmaxRegression(inputs, torch.randint(3, (6,), generator=generator), classes=3)
    poison = torch.randn(len(lrs), 2, 12, generator=generator, dtype=torch.float64)
    poison = strength * poison / poison.norm(dim=2, keepdim=True)
    poison[:, 0] = 0.0
    final, _ = descend(regression, lrs, poison, k=k)
    oracle, mass = softmax_oracle(inputs), float(poison.abs().sum(2).max())
    memory = memory_bound(prior_omega(12, k), oracle.mass + mass)
    radii = log_memory_radii(lrs, growth=oracle.total, budget=mass, memory=memory)
    apart = final[1] - final[0]
    assert float(apart.abs().sum()) <= math.exp(radii[-1]) * (1 + 1e-9)
    if max(lrs) <= 2 / oracle.smoothness:
        memory = error_bound_l2(12, k, oracle.mass + strength)  # ‖u‖₂ ≤ ‖u‖₁
        bound = convex_radii(lrs, smoothness=oracle.smoothness, budget=strength, memory=memory)[-1]
        assert float(apart.norm()) <= bound * (1 + 1e-9)


@given(
    seed=st.integers(0, 9999),
    lrs=st.lists(st.floats(0.01, 1.0), min_size=1, max_size=10),
    k=st.none() | st.integers(1, 12),
    stiffness=st.floats(0.0, 1.0),
)
def test_the_anchored_radius_of_convex_losses_holds_for_random_data_rates_and_poison(seed, lrs, k, stiffness):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    regression = SoftmaxRegression(inputs, torch.randint(3, (6,), generator=generator), classes=3)
    poison = torch.nn.functional.normalize(
        torch.randn(len(lrs), 2, 12, generator=generator, dtype=torch.float64), dim=2
    )
    poison[:, 0] = 0.0
    final, _ = descend(regression, lrs, poison, k=k, stiffness=stiffness)
    oracle = softmax_oracle(inputs)
    if max(lrs) <= 2 / (oracle.smoothness + stiffness):
        memory = 0.0 if k is None else error_bound_l2(12, k, oracle.length + 1)
        numbers = {"smoothness": oracle.smoothness, "budget": 1.0, "memory": memory}
        bound = convex_radii(lrs, stiffness=stiffness, **numbers)[-1]
        assert float((final[1] - final[0]).norm()) <= bound * (1 + 1e-9)
        assert k is not None or bound <= convex_radii(lrs, **numbers)[-1] * (1 + 1e-9)


@pytest.mark.parametrize("rounds", [10_000, 100_000])
def test_an_anchored_radius_does_not_grow_with_the_rounds(rounds):
    found = convex_radii([0.1] * rounds, smoothness=3.0, budget=0.5, stiffness=0.05)
    assert found[-1] == pytest.approx(0.5 / 0.05)
    assert found.max() <= 0.5 / 0.05 * (1 + 1e-12)
    assert held([0.1] * rounds, stiffness=0.05, push=0.5).max() <= 0.5 / 0.05 * (1 + 1e-12)


@given(
    lrs=st.lists(st.floats(0.01, 0.5), min_size=1, max_size=10),
    growth=st.floats(0.01, 5),
    budget=st.floats(0.01, 5),
)
def test_without_a_memory_the_dense_radius_is_left(lrs, growth, budget):
    found = log_memory_radii(lrs, growth=growth, budget=budget, memory=0.0)
    assert found == pytest.approx(log_radii(lrs, lipschitz=growth, params=1, budget=budget))
    assert convex_radii(lrs, smoothness=0.1, budget=budget) == pytest.approx(np.cumsum(lrs) * budget)


def test_at_the_same_total_rate_more_rounds_make_the_memory_negligible():
    """R → the dense one as λ → 0; the recursion's 2γ in every round does not shrink."""
    numbers = {"growth": 2.0, "budget": 1.0, "memory": 50.0}
    over = [log_memory_radii([1.0 / rounds] * rounds, **numbers)[-1] for rounds in (10, 100, 10_000)]
    dense = log_radii([1e-4] * 10_000, lipschitz=2.0, params=1, budget=1.0)[-1]
    assert over[0] > over[1] > over[2] > dense
    assert over[2] == pytest.approx(dense, abs=0.05)


def test_one_rate_counts_the_memory_with_itself_and_changes_with_their_size():
    assert memory_weights([0.1] * 4) == pytest.approx([0.1] * 4)
    assert memory_weights([0.1, 0.3, 0.2]) == pytest.approx([0.1, 0.5, 0.5])


def test_steps_that_could_expand_are_refused():
    with pytest.raises(SpecError, match=r"at most 2/smoothness = 0\.2, found 0\.3 in round 2"):
        convex_radii([0.1, 0.3], smoothness=10.0, budget=1.0)
    with pytest.raises(SpecError, match="k: expected at most"):
        error_bound_l2(5, 6, 1.0)
    assert error_bound_l2(5, 5, 1.0) == 0
    with pytest.raises(SpecError, match=r"2/\(smoothness \+ stiffness\) = 0\.1, found 0\.15 in round 1"):
        convex_radii([0.15], smoothness=10.0, budget=1.0, stiffness=10.0)
    with pytest.raises(SpecError, match=r"held: expected a stiffness of at most 1/λ, found 2 times that"):
        held([0.1], stiffness=20.0, push=1.0)

"""Benign and poisoned twins on real digits: no poison within the budget, found or searched, beats a radius.

Full-batch softmax regression in float64. The poison is whatever vector of the round's ℓ2 budget is added
to the mean update: that covers every upload of every attack. Searched poison climbs the final distance.
"""

import math

import numpy as np
import pytest
import torch
from certify_protocols import SoftmaxRegression, descend

from sparsefed.certify import (
    convex_radii,
    error_bound_l2,
    l1_budget,
    log_memory_radii,
    log_radius,
    memory_bound,
    prior_gamma,
    prior_omega,
    softmax_oracle,
    width,
)
from sparsefed.data import Digits

LRS = np.concatenate([np.linspace(0.004, 0.02, 10), np.linspace(0.02, 0.002, 15)])
BUDGET = 0.05  # ℓ2, of mean updates that are about 1 long at first
SERVERS = [(None, 0.0), (None, 0.9), (64, 0.0), (320, 0.0), (64, 0.9)]  # k, momentum


@pytest.fixture(scope="module")
def digits():
    data = Digits().load()
    return SoftmaxRegression(data.inputs(data.train.x)[:120].flatten(1), data.train.y[:120])


def random_poison(models: int, params: int) -> torch.Tensor:
    """A quarter each: all directions, one coordinate, signs, and one direction kept through all rounds."""
    generator = torch.Generator().manual_seed(0)
    shape = (len(LRS), models // 4, params)
    anywhere, signs = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    single = torch.zeros(shape, dtype=torch.float64)
    single.scatter_(2, torch.randint(params, (*shape[:2], 1), generator=generator), 1.0)
    kept = torch.randn(shape[1:], generator=generator, dtype=torch.float64).sign().expand(shape)
    return within_budget(torch.cat([anywhere, signs.sign(), single, kept], dim=1))


def searched_poison(oracle, benign, start: torch.Tensor, **server) -> torch.Tensor:
    """Gradient ascent on the final ℓ1 distance, through all rounds, from the best of `start`."""
    final, _ = descend(oracle, LRS, start, **server)
    best = (final - benign).abs().sum(1).topk(6).indices
    poison = start[:, best].clone().requires_grad_()
    for _ in range(12):
        final, _ = descend(oracle, LRS, poison, **server)
        (uphill,) = torch.autograd.grad((final - benign).abs().sum(), poison)
        poison = within_budget(poison.detach() + within_budget(uphill)).requires_grad_()
    return poison.detach()


def within_budget(poison: torch.Tensor) -> torch.Tensor:
    return BUDGET * torch.nn.functional.normalize(poison, dim=-1)


@pytest.mark.parametrize(("k", "momentum"), SERVERS)
def test_no_poison_within_the_budget_beats_a_radius(digits, k, momentum, record_property):
    server = {"k": k, "momentum": momentum}
    params, oracle = digits.params, softmax_oracle(digits.inputs)
    nothing = torch.zeros(len(LRS), 1, params, dtype=torch.float64)
    benign, benign_gamma = descend(digits, LRS, nothing, **server)
    chance = random_poison(120, params)
    poison = torch.cat([chance, searched_poison(digits, benign, chance, **server)], dim=1)
    poisoned, gamma = descend(digits, LRS, poison, **server)
    apart = (poisoned - benign).abs().sum(1)
    radii = l1_radii(
        oracle, params, k, momentum, measured=float(torch.maximum(gamma.max(), benign_gamma.max()))
    )
    for name, log_r in radii.items():
        assert float(apart.log().max()) <= log_r, name
        record_property(f"tightness of {name}", float(apart.max()) / math.exp(log_r))
    if momentum == 0:
        memory = 0.0 if k is None else error_bound_l2(params, k, 1.5 + BUDGET)
        l2 = convex_radii(LRS, smoothness=oracle.smoothness, budget=BUDGET, memory=memory)[-1]
        assert float((poisoned - benign).norm(dim=1).max()) <= l2


def l1_radii(oracle, params, k, momentum, measured) -> dict[str, float]:
    """Every logarithmic ℓ1 radius that covers the server, by name."""
    moving = width(params, k)
    numbers = {
        "lipschitz": oracle.over(moving) / moving,
        "params": params,
        "budget": l1_budget(BUDGET, moving),
    }
    if k is None:
        return {"recursion": log_radius(LRS, momentum=momentum, **numbers)}
    omega, mass = prior_omega(params, k), oracle.mass + float(l1_budget(BUDGET, params))
    gamma = prior_gamma(omega, mass, momentum)
    assert measured <= gamma
    radii = {
        "recursion, γ a priori": log_radius(LRS, k=k, gamma=gamma, **numbers),
        "recursion, γ measured on both runs": log_radius(LRS, k=k, gamma=measured, **numbers),
    }
    if momentum == 0:
        dense = {"growth": oracle.total, "budget": l1_budget(BUDGET, params)}
        radii["memory"] = float(log_memory_radii(LRS, memory=memory_bound(omega, mass), **dense)[-1])
    return radii


def test_searching_finds_more_than_chance_and_a_fair_part_of_the_radius(digits):
    nothing = torch.zeros(len(LRS), 1, digits.params, dtype=torch.float64)
    benign, _ = descend(digits, LRS, nothing)
    chance = random_poison(40, digits.params)
    search = searched_poison(digits, benign, chance)
    by_chance, by_search = (
        float((descend(digits, LRS, poison)[0] - benign).abs().sum(1).max()) for poison in (chance, search)
    )
    bound = math.exp(l1_radii(softmax_oracle(digits.inputs), digits.params, None, 0.0, 0.0)["recursion"])
    assert by_chance < by_search <= bound
    assert by_search > 0.2 * bound


def test_the_honest_mean_is_short_enough_for_the_memory_bound_used_here(digits):
    """‖∇ℒ‖₂ ≤ 1.5 on the runs above, by its value at 0 and the little they move."""
    start = torch.zeros(1, digits.params, dtype=torch.float64)
    assert float(digits.gradient(start).norm()) < 1.5

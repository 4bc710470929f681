"""From the threat model to ρ: counts that hold, and no ε of the real aggregation beyond the budget."""

from fractions import Fraction
from itertools import permutations
from math import comb

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

import sparsefed
from sparsefed.certify import (
    OncePerEpoch,
    SampledPool,
    Threat,
    WorstCase,
    l1_budget,
    l2_budget,
    log_weights,
    width,
)
from sparsefed.core.errors import SpecError

LEVEL = np.zeros(10)


def exact_tail(threat: Threat, least: int) -> Fraction:
    """P(m >= least) of the hypergeometric distribution, exactly."""
    population, cohort, compromised = threat
    ways = (
        comb(compromised, m) * comb(population - compromised, cohort - m) for m in range(least, cohort + 1)
    )
    return Fraction(sum(ways), comb(population, cohort))


def test_in_the_worst_case_every_compromised_client_is_sampled():
    assert WorstCase().counts(Threat(1000, 100, 20), LEVEL).tolist() == [20] * 10
    assert WorstCase().counts(Threat(1000, 100, 200), LEVEL).tolist() == [100] * 10


@given(
    population=st.integers(1, 400),
    data=st.data(),
    confidence=st.sampled_from([0.5, 0.9, 0.999]),
    rounds=st.integers(1, 50),
)
def test_the_sampled_count_is_the_least_that_the_union_bound_allows(population, data, confidence, rounds):
    cohort = data.draw(st.integers(1, population))
    threat = Threat(population, cohort, data.draw(st.integers(0, population)))
    (m, *rest) = SampledPool(confidence=confidence).counts(threat, np.zeros(rounds)).tolist()
    allowed = (1 - confidence) / rounds
    assert set(rest) <= {m}
    assert exact_tail(threat, m + 1) <= allowed * (1 + 1e-9)
    assert m == 0 or exact_tail(threat, m) > allowed * (1 - 1e-9)


def test_two_percent_of_ten_thousand_can_mean_twelve_of_a_hundred():
    counts = SampledPool(confidence=0.999).counts(Threat(10_000, 100, 200), np.zeros(2400))
    assert set(counts.tolist()) == {12}
    assert float(exact_tail(Threat(10_000, 100, 200), 13)) * 2400 < 0.001


def test_without_sampling_there_is_no_chance():
    full = Threat(50, 50, 3)
    for counting in (WorstCase(), SampledPool(), OncePerEpoch()):
        assert counting.counts(full, LEVEL).tolist() == [3] * 10


@given(
    lrs=st.lists(st.floats(0.01, 1), min_size=6, max_size=6),
    growth=st.floats(0, 5),
    compromised=st.integers(0, 6),
)
def test_no_arrangement_of_an_epoch_is_worse_than_the_one_certified(lrs, growth, compromised):
    """Six clients, two a round, two epochs of three rounds: every way to meet them, against the bound."""
    weights = log_weights(lrs, growth=growth)
    certified = OncePerEpoch().counts(Threat(6, 2, compromised), weights)
    clients = [1] * compromised + [0] * (6 - compromised)
    met = {tuple(np.reshape(order, (3, 2)).sum(1)) for order in set(permutations(clients))}
    for epoch in (slice(0, 3), slice(3, 6)):
        worst = max(np.exp(weights[epoch]) @ counts for counts in met)
        assert np.exp(weights[epoch]) @ certified[epoch] == pytest.approx(worst)


@given(data=st.data(), n=st.integers(2, 12), d=st.integers(2, 12), clip=st.floats(0.1, 5))
def test_no_upload_moves_the_servers_mean_by_more_than_the_budget(data, n, d, clip):
    """Compromised clients may also send what is not finite: the server then averages over fewer."""
    m = data.draw(st.integers(1, n - 1))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    honest = rng.normal(size=(n, d)) * rng.choice([0.1, 10.0])
    poisoned = honest.copy()
    poisoned[:m] = rng.normal(size=(m, d)) * 100
    poisoned[: data.draw(st.integers(0, m))] = np.nan
    means = [sparsefed.dense(rows).admitted(clip).mean().numpy() for rows in (honest, poisoned)]
    (l2,) = l2_budget(m, n, clip)
    epsilon = means[1] - means[0]
    assert np.linalg.norm(epsilon) <= l2 * (1 + 1e-12)
    k = data.draw(st.integers(1, d))
    largest = torch.from_numpy(epsilon).abs().topk(width(d, k)).values.sum()
    assert float(largest) <= l1_budget(l2, width(d, k)) * (1 + 1e-12)


def test_the_budget_is_reached_by_colluders_against_identical_honest_clients():
    honest = np.tile([1.0, 0.0], (10, 1))
    poisoned = honest.copy()
    poisoned[:3] *= -1
    moved = np.linalg.norm(poisoned.mean(0) - honest.mean(0))
    assert moved == pytest.approx(l2_budget(3, 10, 1.0)[0])


@pytest.mark.parametrize(
    ("counting", "threat", "complaint"),
    [
        (WorstCase(), Threat(10, 11, 1), "cohort: expected a whole number of between 1 and 10, found 11"),
        (
            SampledPool(),
            Threat(10, 5, -1),
            "compromised: expected a whole number of between 0 and 10, found -1",
        ),
        (OncePerEpoch(), Threat(0, 1, 0), "population: expected a whole number of at least 1, found 0"),
    ],
)
def test_impossible_threats_are_refused(counting, threat, complaint):
    with pytest.raises(SpecError, match=complaint):
        counting.counts(threat, LEVEL)


def test_impossible_budgets_are_refused():
    with pytest.raises(SpecError, match="between 0 and the cohort of 10, found 11"):
        l2_budget([1, 11], 10, 5.0)
    with pytest.raises(SpecError, match="clip_norm: expected finite numbers of at least 0, found inf"):
        l2_budget(1, 10, np.inf)
    with pytest.raises(SpecError, match="confidence"):
        SampledPool(confidence=1.0)

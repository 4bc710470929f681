"""Figures that other projects' test suites and papers give for the same rules, with where they stand."""

import math

import numpy as np
import pytest

import sparsefed as sf
from sparsefed.defenses.privacy import gaussian_delta, gaussian_epsilon, sampled_epsilon

FOURS = np.ones(4, np.float32)


def aggregate(rule: sf.Aggregate, values: list[float]) -> list[float]:
    """What a rule makes of clients that send four equal numbers each."""
    return rule.aggregate(sf.dense([value * FOURS for value in values])).tolist()


@pytest.mark.parametrize(
    ("rule", "values", "expected"),
    [
        (sf.Median(), [0.2, 1.0, 0.5], 0.5),  # Flower, FedMedian
        (sf.TrimmedMean(f=1), [0.2, 0.5, 0.7, 12.0], 0.6),  # Flower, FedTrimmedAvg with β = 0.25
        (sf.MultiKrum(f=0, m=2), [0.2, 0.5, 1.0], 0.35),  # Flower, Multi-Krum keeping two
        (sf.Krum(f=0), [0.2, 0.5, 1.0], 0.2),
        (sf.Bulyan(f=0), [0.2, 0.5, 0.7], 1.4 / 3),
    ],
    ids=repr,
)
def test_four_equal_numbers_from_each_client(
    rule: sf.Aggregate, values: list[float], expected: float
) -> None:
    assert aggregate(rule, values) == pytest.approx([expected] * 4)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (sf.Mean(), [4, 5, 6]),
        (sf.Median(), [4, 5, 6]),
        (sf.TrimmedMean(f=1), [4, 5, 6]),
        (sf.Krum(f=0), [1, 2, 3]),
        (sf.MultiKrum(f=0, m=2), [2.5, 3.5, 4.5]),
    ],
    ids=repr,
)
def test_byzfls_nine_numbers(rule: sf.Aggregate, expected: list[float]) -> None:
    assert rule.aggregate(sf.dense(np.arange(1.0, 10.0).reshape(3, 3))).tolist() == expected


def test_flowers_weighted_averages() -> None:
    layers = [np.array([[1.0, 2, 3], [4, 5, 6]]), np.array([7.0, 8, 9, 10])]
    assert sf.dense([layers, layers], weights=[1, 2]).mean().tolist() == pytest.approx(range(1, 11))
    assert sf.dense(np.array([[2.0], [1.0], [2.0]]), weights=[1, 2, 1]).mean().tolist() == [1.5]


def test_flowers_clip_of_two_layers() -> None:
    update = [np.array([[1.5, -0.5], [2.0, -1.0]]), np.array([0.5, -0.5])]
    clipped = sf.dense([update]).admitted(1.5).rows()[0]
    factor = 1.5 / math.sqrt(8)
    assert clipped.tolist() == pytest.approx([factor * x for x in (1.5, -0.5, 2.0, -1.0, 0.5, -0.5)])


def test_the_analytic_gaussian_mechanism() -> None:
    # Balle and Wang (2018): σ = 3.7306 for ε = 1, δ = 1e-5, where the classical formula asks for 4.84.
    assert gaussian_delta(3.730631634816464, 1.0) == pytest.approx(1e-5, rel=1e-9)
    assert gaussian_epsilon(math.sqrt(2 * math.log(1.25e5)), 1e-5) < 1.0


def test_so_much_noise_that_no_epsilon_is_needed_is_an_epsilon_of_0() -> None:
    assert gaussian_epsilon(1e3, 0.5) == 0
    assert gaussian_epsilon(1e9, 1e-5) == 0
    assert gaussian_epsilon(1.0, 0.39) == 0 < gaussian_epsilon(1.0, 0.38)  # δ(0) = 2Φ(1/2) − 1 = 0.383


def test_partitions_and_poisson_sampling_are_what_others_quote() -> None:
    pytest.importorskip("opacus", reason="pip install sparsefed[privacy]")
    assert gaussian_epsilon(1 / math.sqrt(24), 1e-5) == pytest.approx(32.18, abs=0.01)
    assert sampled_epsilon(1.0, 0.01, 2400, 1e-5) == pytest.approx(2.84, abs=0.015)  # dp-accounting: 2.839
    abadi = sampled_epsilon(4.0, 0.01, 10_000, 1e-5)  # Abadi et al. (2016): 1.26 by the moments accountant
    assert abadi is not None
    assert 0.9 < abadi < 1.26
    assert sampled_epsilon(0.4, 0.01, 100, 1e-5) is None
    for share, rounds in [(0.0, 1), (1.1, 1), (0.5, 0)]:
        with pytest.raises(sf.SpecError, match="expected 0 < share ≤ 1 and rounds ≥ 1, found"):
            sampled_epsilon(1.0, share, rounds, 1e-5)


def test_without_sampling_both_accountants_say_the_same() -> None:
    pytest.importorskip("opacus", reason="pip install sparsefed[privacy]")
    exact = gaussian_epsilon(2.0 / math.sqrt(10), 1e-5)
    found = sampled_epsilon(2.0, 1.0, 10, 1e-5)
    assert found is not None
    assert exact <= found <= exact + 0.02

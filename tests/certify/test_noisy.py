"""Certificates from noise: their formulas against oracles, real runs, and where they are vacuous."""

import math

import numpy as np
import pytest
from scipy.stats import binom, norm

import sparsefed as sf
from sparsefed.certify.votes.groups import shares_between
from sparsefed.certify.votes.noisy import Private, Radius, Smoothed, shift
from sparsefed.core.errors import SpecError
from sparsefed.data import IID, Digits
from sparsefed.models import MLP, Linear


def federation(**changes) -> sf.Federation:
    parts = {
        "rounds": 4,
        "cohort": 400,
        "data": Digits(),
        "partition": IID(clients=400, per_client=3),
        "model": Linear(zeros=True, bias=False),
        "schedule": sf.Constant(value=0.2),
        "clip": sf.FixedClip(norm=1.5),
        "defense": sf.defenses.Mean(),
    }
    return sf.Federation.of(sf.Experiment(**{**parts, **changes}))


MANY = {"cohort": 2000, "partition": IID(clients=2000, per_client=3, replace=True)}


def exhausted(steps):
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_bounds_on_shares_are_those_of_clopper_and_pearson():
    votes = np.repeat([0, 1], [70, 30])[:, None]
    low, high = shares_between(votes, 2, confidence=0.96)
    risk = 0.04 / 4
    assert binom.sf(69, 100, low[0]) == pytest.approx(risk)
    assert binom.cdf(30, 100, high[0]) == pytest.approx(risk)
    one, none = shares_between(np.zeros((50, 1), int), 2, confidence=0.96)
    assert one[0] == pytest.approx(risk ** (1 / 50))
    assert none[0] == 1 - one[0]


def test_smoothing_certifies_what_the_radius_allows_and_no_network():
    fed = federation(clip=sf.FixedClip(norm=6.0), **MANY)  # longer than any honest update
    found = exhausted(Smoothed(deviation=0.01, samples=200).run(fed))
    labels = fed.dataset.test.y.numpy()
    curve = [found.percent(labels, m) for m in (0, 1, 2, 2000)]
    assert curve == sorted(curve, reverse=True)
    assert curve[1] > 10, curve
    assert curve[3] == 0
    network = exhausted(
        Smoothed(deviation=0.02, samples=20).run(federation(model=MLP(hidden=(8,)), rounds=2))
    )
    assert network.survived.max() <= 0  # vacuous: the updates' sizes alone allow any prediction


def test_the_radius_of_one_model_certifies_what_the_certificate_says():
    fed = federation(clip=sf.FixedClip(norm=6.0), **MANY)
    found = exhausted(Radius().run(fed))
    labels = fed.dataset.test.y.numpy()
    for count in (1, 5):
        made = sf.certify.certificate(fed.spec, compromised=count)
        assert found.percent(labels, count) == pytest.approx(made.certified)
    with pytest.raises(SpecError, match="softmax regression"):
        exhausted(Radius().run(federation(model=MLP(hidden=(8,)))))


def test_a_smoothed_prediction_survives_a_move_just_within_its_bound():
    """Two classes and one parameter: the majority turns exactly where the bound says."""
    deviation, logit = 0.5, 0.3  # class 0 if θ + σz > 0, at θ = 0.3
    share = norm.cdf(logit / deviation)
    bears = deviation / 2 * (norm.ppf(share) - norm.ppf(1 - share))
    assert bears == pytest.approx(logit)


def test_private_noise_shifts_by_the_clients_share_of_it():
    noisy = sf.GaussianNoise(sigma=6.0)
    assert shift(federation(defense=noisy)) == pytest.approx(2 * math.sqrt(4) * 1.5 / 6.0)
    half = federation(defense=noisy, cohort=200)
    assert shift(half) == pytest.approx(2 * math.sqrt(2) * 1.5 / 6.0)  # each client in two of four rounds


def test_private_training_certifies_a_few_clients_with_much_noise_and_none_with_little():
    fed = federation(defense=sf.GaussianNoise(sigma=8.0), clip=sf.FixedClip(norm=0.5), **MANY)
    found = exhausted(Private(trainings=30, confidence=0.9).run(fed))
    labels = fed.dataset.test.y.numpy()
    assert found.percent(labels, 1) > 20
    assert found.percent(labels, 400) == 0
    little = exhausted(Private(trainings=10).run(federation(defense=sf.GaussianNoise(sigma=0.1))))
    assert little.survived.max() <= 0


def test_the_certified_number_is_the_last_below_the_gap_of_the_shares():
    fed = federation(defense=sf.GaussianNoise(sigma=8.0), clip=sf.FixedClip(norm=0.5), **MANY)
    found = exhausted(Private(trainings=30, confidence=0.9).run(fed))
    mu = shift(fed)
    best = 0.1 / (2 * 500 * 10)
    low = best ** (1 / 30)
    most = (norm.ppf(low) - norm.ppf(1 - low)) / (2 * mu)
    assert found.survived.max() == math.ceil(most) - 1


def test_what_noise_cannot_certify_is_one_line():
    with pytest.raises(SpecError, match="expected the defense GaussianNoise, found Mean"):
        exhausted(Private().run(federation()))
    unclipped = federation(defense=sf.GaussianNoise(sigma=1.0), clip=sf.Unclipped())
    with pytest.raises(SpecError, match="updates are not clipped"):
        exhausted(Private().run(unclipped))
    with pytest.raises(SpecError, match="expected a clip"):
        exhausted(Smoothed(deviation=0.1).run(federation(clip=sf.Unclipped())))


def test_a_server_that_skips_rounds_of_few_updates_has_no_certificate_from_privacy():
    fed = federation(defense=sf.GaussianNoise(sigma=1.0), aggregation=sf.Pine())
    with pytest.raises(SpecError, match="Private: expected the aggregation Plain, found Pine"):
        shift(fed)

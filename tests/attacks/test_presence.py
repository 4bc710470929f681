"""Who attacks, and when."""

from typing import Any

import numpy as np
import pytest
import small

import sparsefed as sf
from sparsefed.attacks import FixedPerRound, Once, Presence
from sparsefed.federation.round import Federation

COHORT = np.arange(10, 30)


def attacks(presence: Presence, rounds: int = 12, clients: int = 100) -> list[np.ndarray]:
    pool = presence.compromised(clients, 1)
    return [presence.attacking(pool, COHORT, t, 1) for t in range(1, rounds + 1)]


def test_a_pool_attacks_whenever_it_is_sampled():
    pool = sf.Pool(fraction=0.3).compromised(100, 1)
    assert pool.sum() == 30
    assert all(np.array_equal(mask, pool[COHORT]) for mask in attacks(sf.Pool(fraction=0.3)))


def test_how_many_of_a_pool_meet_in_a_round_varies_around_its_share():
    fed = Federation.of(small.experiment(rounds=300, attack=small.attack(presence=sf.Pool(fraction=0.2))))
    counts = [int(fed.attacking(fed.cohort(t), t).sum()) for t in range(1, 301)]
    assert np.mean(counts) == pytest.approx(2)  # of 10; every epoch meets every attacker once
    assert np.std(counts) > 0.5


def test_a_fixed_number_attacks_in_every_round_and_they_are_others_each_time():
    masks = attacks(FixedPerRound(count=3))
    assert [mask.sum() for mask in masks] == [3] * 12
    assert len({mask.tobytes() for mask in masks}) > 6
    assert not FixedPerRound(count=3).compromised(100, 1).any()


@pytest.mark.parametrize(
    ("presence", "rounds"),
    [
        (FixedPerRound(count=2, first=3, last=5), [3, 4, 5]),
        (FixedPerRound(count=2, first=11), [11, 12]),
        (sf.Pool(fraction=0.5, last=2), [1, 2]),
        (Once(round=9), [9]),
    ],
)
def test_an_attacker_comes_and_goes_as_said(presence: Presence, rounds: list[int]):
    assert [t for t, mask in enumerate(attacks(presence), start=1) if mask.any()] == rounds


def test_when_the_attackers_leave_is_known():
    assert [p.ends for p in (sf.Pool(clients=1), sf.Pool(clients=1, last=7), Once(round=9))] == [None, 7, 9]


def test_the_attackers_share_is_that_of_the_pool_or_of_the_cohort():
    pool = sf.Pool(fraction=0.3)
    assert pool.share(pool.compromised(100, 1), 20) == pytest.approx(0.3)
    assert FixedPerRound(count=3).share(np.zeros(100, bool), 20) == pytest.approx(0.15)
    assert Once(round=4, count=3).share(np.zeros(100, bool), 20) == pytest.approx(0.03)


@pytest.mark.parametrize("presence", [sf.Pool(clients=2, first=21), Once(round=21), FixedPerRound(first=30)])
def test_an_attack_that_would_never_come_is_refused(presence: Presence):
    with pytest.raises(
        sf.SpecError,
        match=r"`attack\.presence`: expected an attack that begins within `rounds` = 20, found round",
    ):
        small.experiment(attack=small.attack(presence=presence))


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"fraction": 1.5}, "`fraction`: expected a number above 0 and below 1, found 1.5"),
        ({"fraction": 30}, "`fraction`: expected a number above 0 and below 1, found 30"),
        ({"clients": 0.3}, "`clients`: expected a whole number of at least 1"),
        ({"clients": 1.0}, "`clients`: expected a whole number of at least 1, found 1.0"),
        ({"clients": True}, "`clients`: expected a whole number of at least 1, found True"),
        ({"clients": "3"}, "`clients`: expected a whole number of at least 1, found '3'"),
        ({}, "expected either `fraction` or `clients`, found neither"),
        ({"fraction": 0.1, "clients": 3}, "found both"),
        ({"clients": 3, "first": 5, "last": 4}, "expected `last` of at least `first` = 5, found 4"),
    ],
)
def test_fraction_and_number_cannot_be_confused(wrong: dict[str, Any], complaint: str):
    with pytest.raises(sf.SpecError, match=complaint):
        sf.Pool(**wrong)


@pytest.mark.parametrize("presence", [FixedPerRound(count=20), Once(round=3, count=20)])
def test_more_attackers_than_a_cohort_can_hold_are_refused(presence: Presence):
    with pytest.raises(sf.SpecError, match="`count`: expected fewer than the 20 clients of a"):
        attacks(presence)

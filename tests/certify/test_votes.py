"""Certified votes against brute force: every placement of attackers, every vote of what they touch."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import hypergeom

from sparsefed.certify.votes.groups import Drawn, Hashed, tally
from sparsefed.core.errors import SpecError
from sparsefed.kernels.votes import survived_at_costs, survived_when_spread

CLASSES = 3


def winner(votes: tuple[int, ...]) -> int:
    """The most votes; of equals the smallest class."""
    return max(range(CLASSES), key=lambda label: (votes.count(label), -label))


def can_change(votes: tuple[int, ...], corrupted: set[int]) -> bool:
    """Whether any votes of the corrupted groups change the winner."""
    before = winner(votes)
    places = sorted(corrupted)
    for forged in product(range(CLASSES), repeat=len(places)):
        after = list(votes)
        for place, vote in zip(places, forged, strict=True):
            after[place] = vote
        if winner(tuple(after)) != before:
            return True
    return False


def least_attack(votes: tuple[int, ...], reach: list[set[int]]) -> int:
    """The fewest clients that change the winner, by trying them all; `reach[i]` is what client i corrupts."""
    return next(
        size
        for size in range(1, len(reach) + 1)
        if any(can_change(votes, set().union(*chosen)) for chosen in combinations(reach, size))
    )


def votes_of(size: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.tuples(*[st.integers(0, CLASSES - 1)] * size)


@settings(max_examples=40)
@given(votes=st.integers(1, 6).flatmap(votes_of))
def test_one_group_per_client_is_certified_exactly(votes):
    own = Hashed(groups=len(votes))
    found = own.survived(np.array(votes)[:, None], CLASSES, clients=len(votes), seed=0)
    assert found.tolist() == [least_attack(votes, [{group} for group in range(len(votes))]) - 1]


@settings(max_examples=40)
@given(votes=votes_of(5), shifts=st.sets(st.integers(0, 4), min_size=2, max_size=3))
def test_several_groups_per_client_are_certified_soundly(votes, shifts):
    counts = tally(np.array(votes)[:, None], CLASSES)
    ordered = np.array(sorted(shifts))
    found = survived_when_spread(np.array([votes]), counts.argmax(1), counts, ordered)[0]
    reach = [{(bucket + shift) % 5 for shift in shifts} for bucket in range(5)]
    exact = least_attack(votes, reach) - 1
    assert found <= exact
    counted_as_one_group_each = (int(counts.max()) - int(np.sort(counts[0])[-2])) // (2 * len(shifts))
    assert found >= counted_as_one_group_each - 1


@settings(max_examples=40)
@given(votes=votes_of(4), costs=st.tuples(*[st.integers(1, 3)] * 4))
def test_votes_that_cost_more_than_one_client_are_certified_exactly_for_whoever_can_pay(votes, costs):
    counts = tally(np.array(votes)[:, None], CLASSES)
    found = survived_at_costs(np.array([votes]), counts.argmax(1), counts, np.array([costs]))[0]
    paid = min(
        sum(costs[group] for group in chosen)
        for size in range(1, 5)
        for chosen in combinations(range(4), size)
        if can_change(votes, set(chosen))
    )
    assert found == paid - 1


def test_a_cost_of_one_is_the_plain_count():
    votes = np.random.default_rng(0).integers(0, 4, (31, 50))
    own = Hashed(groups=31)
    assert np.array_equal(own.survived(votes, 4, 31, 0), own.survived_at_costs(votes, 4, np.ones_like(votes)))


@pytest.mark.parametrize(
    ("votes", "label", "survived"),
    [
        ((0, 0, 1, 1), 0, 0),  # a tie goes to the smaller class, and one client undoes it
        ((1, 1, 0), 1, 0),  # a lead of one over a smaller class: moving a single vote ties, and loses
        ((0, 0, 1), 0, 0),
        ((0, 0, 0, 1), 0, 1),  # moving one vote ties at two each, which the smaller class wins
        ((1, 1, 1, 0), 1, 0),  # the same tie, which the larger class loses
        ((2, 2, 2, 2, 2), 2, 2),
    ],
)
def test_ties_are_counted_exactly(votes, label, survived):
    found = Hashed(groups=len(votes)).survived(np.array(votes)[:, None], CLASSES, len(votes), 0)
    assert (winner(votes), found[0]) == (label, survived)


@given(
    clients=st.integers(1, 60), groups=st.integers(1, 12), copies=st.integers(1, 4), seed=st.integers(0, 9)
)
def test_every_client_trains_exactly_its_groups(clients, groups, copies, seed):
    copies, groups = min(copies, groups), min(groups, clients)
    copies = min(copies, groups)
    own = Hashed(groups=groups, copies=copies)
    members = own.members(clients, seed)
    assert len(members) == groups
    assert np.array_equal(np.bincount(np.concatenate(members), minlength=clients), np.full(clients, copies))
    places = [frozenset(g for g in range(groups) if client in members[g]) for client in range(clients)]
    orbit = {frozenset((bucket + s) % groups for s in own.shifts(seed).tolist()) for bucket in range(groups)}
    assert set(places) <= orbit
    assert all(np.array_equal(a, b) for a, b in zip(members, own.members(clients, seed), strict=True))


def test_a_draw_misses_the_compromised_clients_as_often_as_it_says():
    own = Drawn(groups=4000, clients=5)
    members = own.members(40, seed=1)
    assert {len(set(group.tolist())) for group in members} == {5}
    hit = np.mean([(group < 3).any() for group in members])
    assert own.touched(40)[3] == pytest.approx(1 - hypergeom.pmf(0, 40, 3, 5))
    assert hit == pytest.approx(own.touched(40)[3], abs=0.03)


def test_drawn_groups_certify_with_confidence_and_never_without_a_lead():
    own = Drawn(groups=500, clients=5)
    sure, even = np.zeros((500, 1), int), (np.arange(500) % 2)[:, None]
    assert own.survived(even, 2, 100, 0).tolist() == [-1]
    found = own.survived(sure, 2, 100, 0)[0]
    low = 1 - 2 * (1 - (own.touched(100)[found]))
    assert found > 0
    assert 2 * own.touched(100)[found] < 1
    assert low < 1
    assert Drawn(groups=500, clients=5, confidence=0.5).survived(sure, 2, 100, 0)[0] >= found


@settings(max_examples=25)
@given(right=st.floats(0.5, 0.95), seed=st.integers(0, 1000))
def test_the_estimate_of_drawn_groups_is_not_above_the_truth(right, seed):
    own = Drawn(groups=200, clients=2, confidence=0.9999)
    votes = (np.random.default_rng(seed).random((200, 1)) > right).astype(int)
    found = own.survived(votes, 2, 50, 0)[0]
    assert found < 0 or tally(votes, 2).argmax() == 1 or 2 * own.touched(50)[found] < 2 * right - 1


def test_impossible_groups_are_refused_in_one_line():
    with pytest.raises(SpecError, match="expected at most a group per client, found 5 clients"):
        Hashed(groups=9).members(5, 0)
    with pytest.raises(SpecError, match="groups of at most all 5 clients"):
        Drawn(groups=3, clients=9).members(5, 0)
    with pytest.raises(SpecError, match="expected at most 3 `copies`, one per group, found 4"):
        Hashed(groups=3, copies=4)
    with pytest.raises(SpecError, match="each client in one group"):
        Hashed(groups=3, copies=2).survived_at_costs(np.zeros((3, 1), int), 2, np.ones((3, 1), int))

"""Bucketing, nearest-neighbor mixing and adaptive clipping in front of other rules."""

import numpy as np
import oracles_newer as oracle
import pytest
import torch
from hypothesis import given, settings, strategies as st

import sparsefed as sf
from sparsefed.defenses import ARC, NNM, Bucketing, FLTrust, Krum, Mean, Median, SparseFed, TrimmedMean
from sparsefed.defenses.mixing import Before
from sparsefed.protocol.dense import dense

seeds = st.integers(0, 2**32 - 1)
every_one = pytest.mark.parametrize("rule", [Bucketing(size=3), NNM(f=2), ARC(f=2)], ids=repr)


def matrix_of(seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return draw.normal(size=(int(draw.integers(9, 15)), 6)) * draw.uniform(0.1, 5, size=(1, 6))


def changed(rule: Before, matrix: np.ndarray, round: int = 1) -> np.ndarray:
    return rule.changed(dense(matrix), 7, round).rows().numpy()


@given(seeds, st.integers(1, 5))
@settings(max_examples=25)
def test_buckets_are_means_of_random_groups_that_are_drawn_anew(seed: int, size: int) -> None:
    matrix, rule = matrix_of(seed), Bucketing(size=size)
    group = rule.came_to(len(matrix), 7, 1)
    counts = np.bincount(group)
    assert set(counts[:-1]) <= {size}
    assert len(counts) == -(-len(matrix) // size)
    needed = np.array([matrix[group == i].mean(axis=0) for i in range(len(counts))])
    np.testing.assert_allclose(changed(rule, matrix), needed, atol=1e-12)
    assert size == 1 or not np.array_equal(group, rule.came_to(len(matrix), 7, 2))


@given(seeds, st.integers(0, 4))
@settings(max_examples=25)
def test_nnm_mixes_the_nearest(seed: int, f: int) -> None:
    matrix = matrix_of(seed)
    np.testing.assert_allclose(
        changed(NNM(f=f), matrix), oracle.nearest_neighbor_mixing(matrix, f), atol=1e-12
    )


@given(seeds, st.integers(0, 4))
@settings(max_examples=25)
def test_arc_cuts_the_longest_to_the_next(seed: int, f: int) -> None:
    matrix = matrix_of(seed)
    np.testing.assert_allclose(changed(ARC(f=f), matrix), oracle.adaptive_clipping(matrix, f), atol=1e-12)


def test_arc_needs_no_rows_where_its_rule_needs_none() -> None:
    assert not ARC(rule=Mean(), f=1).needs_rows
    assert ARC(rule=Median(), f=1).needs_rows
    assert NNM(rule=Mean(), f=1).needs_rows


def test_arc_bounds_what_liars_add_to_a_mean_and_does_nothing_to_liars_of_honest_length() -> None:
    draw = np.random.default_rng(0)
    honest = draw.normal(size=(10, 6))
    for length, far in ((1e6, 1.0), (2.0, 1.0)):
        rows = np.vstack([honest, length * np.eye(6)[:1], length * np.eye(6)[:1]])
        state = ARC(rule=Mean(), f=2).init(torch.zeros(6, dtype=torch.float64))
        delta, _ = ARC(rule=Mean(), f=2).step(dense(rows), state)
        assert 0.2 < delta.numpy()[0] - honest.sum(axis=0)[0] / 12 < far


def test_mixing_brings_krum_s_choice_nearer_to_the_honest_mean_where_clients_differ() -> None:
    draw = np.random.default_rng(4)
    honest = draw.normal(size=(14, 50)) + 1
    rows = np.vstack([honest, np.zeros((4, 50))])  # colluders at distance 0 of each other: Krum's favorites
    distances = []
    for rule in (Krum(f=4), NNM(rule=Krum(f=4), f=4), Bucketing(rule=Krum(f=3), size=2)):
        delta, _ = rule.step(dense(rows), rule.init(torch.zeros(50, dtype=torch.float64), 1))
        distances.append(float(np.linalg.norm(delta.numpy() - honest.mean(axis=0))))
    alone, mixed, bucketed = distances
    assert mixed < alone / 2
    assert bucketed < alone


def test_a_bucket_of_an_attacker_is_lost_so_large_buckets_lose_all() -> None:
    rows = np.vstack([np.ones((9, 3)), -1e6 * np.ones((3, 3))])
    found = {}
    for size in (1, 6):
        rule = Bucketing(rule=Median(), size=size)
        found[size] = rule.step(dense(rows), rule.init(torch.zeros(3, dtype=torch.float64)))[0].numpy()[0]
    assert found[1] == 1
    assert found[6] < -1e5


@every_one
def test_the_rule_behind_keeps_its_memory_and_the_whole_resumes(rule: Before) -> None:
    rule = rule.but(rule=SparseFed(k=2, momentum=0.5))
    state = rule.init(torch.zeros(6, dtype=torch.float64), 3)
    deltas = []
    for t in range(4):
        if t == 2:
            state = type(state)(*state)
        delta, state = rule.step(dense(matrix_of(t)), state, 0.5)
        deltas.append(delta)
        assert int((delta != 0).sum()) == 2
    assert int(state.round) == 4
    assert state.rule_error.any()


@every_one
def test_weights_are_refused(rule: Before) -> None:
    with pytest.raises(sf.UpdateError, match="expected updates without weights"):
        rule.step(dense(np.ones((9, 2)), weights=np.ones(9)), rule.init(torch.zeros(2, dtype=torch.float64)))


@pytest.mark.parametrize("rule", [NNM(f=2), ARC(f=2)], ids=repr)
def test_fewer_updates_than_an_honest_majority_needs_are_refused(rule: Before) -> None:
    with pytest.raises(sf.UpdateError, match="expected at least 5 updates, found 4"):
        rule.step(dense(np.ones((4, 2))), rule.init(torch.zeros(2, dtype=torch.float64)))


def test_the_rule_behind_is_told_what_the_server_knows() -> None:
    rule = NNM(rule=FLTrust(examples=30), f=1)
    assert rule.server_examples == 30
    rows = np.ones((5, 2))
    delta, _ = rule.step(dense(rows, own=np.ones(2)), rule.init(torch.zeros(2, dtype=torch.float64)))
    np.testing.assert_allclose(delta.numpy(), 1)


def test_what_is_kept_is_counted_by_client() -> None:
    rule, rows = Bucketing(rule=TrimmedMean(f=1), size=2), np.random.default_rng(0).normal(size=(10, 9))
    delta, state = rule.step(dense(rows), rule.init(torch.zeros(9, dtype=torch.float64)))
    assert rule.diagnose(dense(rows), state, delta)["kept"] == pytest.approx(6)

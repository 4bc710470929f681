"""The robust rules against the paper's pseudo-code, and what must hold of them for any updates."""

import numpy as np
import oracles_defenses as oracle
import pytest
import torch
from hypothesis import given, settings, strategies as st

from sparsefed.defenses import (
    Aggregate,
    Bulyan,
    Krum,
    Mean,
    MeanAroundMedian,
    Median,
    MultiKrum,
    PaperBulyan,
    PaperKrum,
    TrimmedMean,
)
from sparsefed.protocol.dense import dense

RULES = [
    Mean(),
    TrimmedMean(f=2),
    Median(),
    MeanAroundMedian(f=2),
    Krum(f=2),
    PaperKrum(f=2),
    MultiKrum(f=2, m=4),
    Bulyan(f=2),
    PaperBulyan(f=2),
]
LEAST = 11  # updates that all of these rules accept
every_rule = pytest.mark.parametrize("rule", RULES, ids=repr)
seeds = st.integers(0, 2**32 - 1)


def matrix_of(seed: int, least: int = LEAST) -> np.ndarray:
    """Updates of a few clients, sometimes with colluders who all send the same vector."""
    draw = np.random.default_rng(seed)
    matrix = draw.normal(size=(int(draw.integers(least, least + 9)), int(draw.integers(1, 9))))
    if draw.random() < 0.5:
        matrix[-int(draw.integers(1, 4)) :] = matrix[-1]
    return matrix * 10.0 ** draw.integers(-3, 4)


def aggregate(rule: Aggregate, matrix: np.ndarray) -> np.ndarray:
    return rule.aggregate(dense(matrix)).numpy()


def close(found: np.ndarray, needed: np.ndarray, scale: float) -> bool:
    return bool(np.abs(found - needed).max() <= 1e-12 * scale)


@given(seeds, st.integers(0, 5))
def test_trimmed_mean_is_algorithm_7(seed: int, f: int) -> None:
    matrix = matrix_of(seed)
    assert close(aggregate(TrimmedMean(f=f), matrix), oracle.trimmed_mean(matrix, f), np.abs(matrix).max())


@given(seeds)
def test_median_averages_the_two_middle_values_of_an_even_number(seed: int) -> None:
    matrix = matrix_of(seed, least=1)
    assert close(aggregate(Median(), matrix), oracle.median(matrix), np.abs(matrix).max())


@given(seeds, st.integers(0, 4))
def test_krum_picks_an_update_of_least_blanchard_score(seed: int, f: int) -> None:
    matrix = matrix_of(seed)
    scores = oracle.krum_scores(matrix, f)
    picked = int(Krum(f=f).selected(dense(matrix))[0])
    assert scores[picked] <= min(scores) + 1e-11 * (matrix**2).sum()
    assert (aggregate(Krum(f=f), matrix) == matrix[picked]).all()


@given(seeds, st.integers(0, 4))
def test_paper_krum_picks_an_update_of_least_score_in_algorithm_8(seed: int, f: int) -> None:
    matrix = matrix_of(seed)
    scores = oracle.paper_krum_scores(matrix, f)
    assert scores[int(PaperKrum(f=f).selected(dense(matrix))[0])] <= min(scores) * (1 + 1e-9)


@given(seeds, st.integers(0, 3), st.integers(1, 8))
def test_multi_krum_averages_the_updates_with_the_best_scores(seed: int, f: int, m: int) -> None:
    matrix = matrix_of(seed)
    scores = np.array(oracle.krum_scores(matrix, f))
    picked = MultiKrum(f=f, m=m).selected(dense(matrix))
    assert len(set(picked.tolist())) == m
    assert scores[picked].sum() <= np.sort(scores)[:m].sum() + 1e-11 * (matrix**2).sum()
    found = aggregate(MultiKrum(f=f, m=m), matrix)
    assert close(found, matrix[picked].mean(axis=0), np.abs(matrix).max())


def without_ties(seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return draw.normal(size=(int(draw.integers(LEAST, LEAST + 9)), int(draw.integers(3, 9))))


@given(seeds, st.integers(1, 2))
@settings(max_examples=40)
def test_bulyan_is_the_original_and_paper_bulyan_is_algorithm_9(seed: int, f: int) -> None:
    matrix = without_ties(seed)
    assert Bulyan(f=f).selected(dense(matrix)).tolist() == oracle.picks(matrix, f, oracle.krum_scores)
    assert close(aggregate(Bulyan(f=f), matrix), oracle.bulyan(matrix, f), np.abs(matrix).max())
    assert close(aggregate(PaperBulyan(f=f), matrix), oracle.paper_bulyan(matrix, f), np.abs(matrix).max())


def test_bulyan_scores_again_after_each_pick() -> None:
    matrix = np.array([[0.0], [1.0], [2.0], [4.0], [5.5], [9.0], [9.5]])
    once = np.argsort(oracle.krum_scores(matrix, 1), kind="stable")[:5].tolist()
    again = Bulyan(f=1).selected(dense(matrix)).tolist()
    assert again == oracle.picks(matrix, 1, oracle.krum_scores)
    assert again != once


def test_two_who_are_each_others_nearest_tie_in_bulyans_last_picks_and_the_first_wins() -> None:
    # Krum counts a single neighbor when few clients are left; the published rule says nothing about the tie.
    matrix = np.array([[0.0], [1.0], [2.1], [3.3], [40.0], [41.0], [50.0]])
    assert Bulyan(f=1).selected(dense(matrix)).tolist()[-1] == 4
    assert Bulyan(f=1).selected(dense(matrix[[0, 1, 2, 3, 6, 5, 4]])).tolist()[-1] == 4


@pytest.mark.parametrize("rule", [r for r in RULES if not isinstance(r, Bulyan)], ids=repr)
@given(seed=seeds)
@settings(max_examples=25)
def test_a_rule_does_not_depend_on_the_order_of_clients(rule: Aggregate, seed: int) -> None:
    matrix = without_ties(seed)
    order = np.random.default_rng(seed).permutation(len(matrix))
    assert close(aggregate(rule, matrix[order]), aggregate(rule, matrix), np.abs(matrix).max())


@every_rule
@given(seed=seeds, scale=st.floats(-8, 8).filter(lambda s: abs(s) > 1e-3))
@settings(max_examples=25)
def test_a_rule_follows_a_shift_and_a_change_of_units(rule: Aggregate, seed: int, scale: float) -> None:
    matrix = without_ties(seed)
    shift = np.random.default_rng(seed).normal(size=matrix.shape[1])
    moved = aggregate(rule, scale * matrix + shift)
    assert close(moved, scale * aggregate(rule, matrix) + shift, 10 * (abs(scale) + 1) * np.abs(matrix).max())


@every_rule
@given(seed=seeds)
@settings(max_examples=25)
def test_every_coordinate_stays_within_the_clients_values(rule: Aggregate, seed: int) -> None:
    matrix, slack = matrix_of(seed), 1 + 1e-12
    found = aggregate(rule, matrix)
    assert (found <= matrix.max(axis=0) + np.abs(matrix).max() * (slack - 1)).all()
    assert (found >= matrix.min(axis=0) - np.abs(matrix).max() * (slack - 1)).all()


@pytest.mark.parametrize("rule", [r for r in RULES if r != Mean()], ids=repr)
@given(seed=seeds, far=st.floats(1e3, 1e9))
@settings(max_examples=25)
def test_f_wild_updates_cannot_drag_a_robust_rule_out_of_the_honest_range(
    rule: Aggregate, seed: int, far: float
) -> None:
    honest = np.random.default_rng(seed).normal(size=(LEAST, 5))
    wild = np.stack([np.full(5, far), np.full(5, -2 * far)])
    found = aggregate(rule, np.concatenate([honest, wild]))
    assert (found <= honest.max(axis=0) + 1e-6).all()
    assert (found >= honest.min(axis=0) - 1e-6).all()


@every_rule
def test_clients_that_agree_are_obeyed(rule: Aggregate) -> None:
    agreed = np.tile(np.random.default_rng(1).normal(size=6), (LEAST, 1))
    assert close(aggregate(rule, agreed), agreed[0], 1.0)


@every_rule
def test_zero_updates_give_zero(rule: Aggregate) -> None:
    assert not aggregate(rule, np.zeros((LEAST, 4))).any()


def test_nothing_is_trimmed_with_f_0() -> None:
    matrix = without_ties(3)
    for rule in (TrimmedMean(f=0), Bulyan(f=0), PaperBulyan(f=0), MultiKrum(f=0, m=len(matrix))):
        assert close(aggregate(rule, matrix), matrix.mean(axis=0), 1.0), rule


def test_identical_colluders_are_at_distance_exactly_zero_and_nothing_is_nan() -> None:
    draw = np.random.default_rng(5)
    for dtype in (np.float32, np.float64):
        for scale in (1e-6, 1.0, 1e4):
            poison = draw.normal(size=3001)
            matrix = (scale * np.concatenate([draw.normal(size=(20, 3001)), [poison] * 5])).astype(dtype)
            distances = dense(matrix).squared_distances()
            assert not distances[20:, 20:].any()
            assert (distances >= 0).all()
            for rule in RULES:
                assert rule.aggregate(dense(matrix)).isfinite().all(), rule


def test_krum_falls_for_colluders_in_a_crowd_of_strangers() -> None:
    # Appendix B.1.3: honest non-iid clients are far apart, identical colluders at distance 0. Three of them
    # cannot win against n − f − 2 = 7 counted neighbors in theory's setting, but f + 1 too many can.
    draw = np.random.default_rng(6)
    crowd = np.concatenate([draw.normal(size=(6, 50)), np.tile(draw.normal(size=50), (6, 1))])
    assert int(Krum(f=4).selected(dense(crowd))[0]) >= 6


def test_the_first_of_equal_scores_wins() -> None:
    matrix = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [9.0, 9.0]])
    assert Krum(f=1).selected(dense(matrix)).tolist() == [0]
    assert MultiKrum(f=1, m=3).selected(dense(matrix)).tolist() == [0, 1, 2]


@every_rule
def test_a_rule_sees_the_clipped_updates(rule: Aggregate) -> None:
    matrix = matrix_of(11)
    bound = float(np.median(np.linalg.norm(matrix, axis=1)))
    clipped = matrix * np.minimum(1, bound / np.linalg.norm(matrix, axis=1))[:, None]
    found = rule.aggregate(dense(matrix).admitted(bound)).numpy()
    assert close(found, aggregate(rule, clipped), np.abs(matrix).max())


@every_rule
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_server_momentum_follows_the_rule(rule: Aggregate, momentum: float) -> None:
    rule = type(rule)(**{**dict(rule), "momentum": momentum})
    draw, velocity = np.random.default_rng(8), np.zeros(6)
    state = rule.init(torch.zeros(6, dtype=torch.float64))
    for lr in (0.1, 0.5, 1.0):
        matrix = draw.normal(size=(LEAST, 6))
        velocity = momentum * velocity + aggregate(rule, matrix)
        delta, state = rule.step(dense(matrix), state, lr)
        assert close(delta.numpy(), lr * velocity, 10)


@every_rule
def test_a_step_leaves_updates_and_state_as_they_were(rule: Aggregate) -> None:
    matrix = torch.from_numpy(without_ties(9))
    state = type(rule.init(matrix[0]))(torch.ones_like(matrix[0]))
    before = matrix.clone()
    rule.step(dense(matrix).admitted(0.5), state, 0.1)
    assert torch.equal(matrix, before)
    assert torch.equal(state.velocity, torch.ones_like(matrix[0]))


@every_rule
def test_tensors_and_arrays_of_either_precision_give_the_same(rule: Aggregate) -> None:
    matrix = without_ties(10)
    assert torch.equal(rule.aggregate(dense(matrix)), rule.aggregate(dense(torch.from_numpy(matrix))))
    single = rule.aggregate(dense(matrix.astype(np.float32)))
    assert single.dtype == torch.float32
    assert np.abs(single.numpy() - aggregate(rule, matrix)).max() < 1e-5

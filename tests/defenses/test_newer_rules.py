"""Rules published after the paper: each against its listing, where it works and where it cannot."""

from typing import Any

import numpy as np
import oracles_newer as oracle
import pytest
import torch
from hypothesis import given, settings, strategies as st

import sparsefed as sf
from sparsefed.core.seeds import Stream, rng
from sparsefed.defenses import (
    CRFL,
    FLAME,
    LASA,
    MDA,
    RFA,
    RLR,
    Aggregate,
    CenteredClipping,
    Defense,
    DnC,
    FLTrust,
    FoolsGold,
    MeanAroundMedian,
    MoNNA,
    SignMajority,
)
from sparsefed.defenses.noise import NoiseMemory, normal
from sparsefed.protocol.dense import dense

seeds = st.integers(0, 2**32 - 1)
D = 12


def matrix_of(seed: int, least: int = 9) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return draw.normal(size=(int(draw.integers(least, least + 6)), D)) + draw.normal(size=D)


def aggregate(rule: Aggregate, matrix: np.ndarray, **beside: Any) -> np.ndarray:
    return rule.aggregate(dense(matrix, **beside)).numpy()


def stepped(rule: Defense, matrix: np.ndarray, rounds: int = 1, **beside: Any) -> np.ndarray:
    """The step of the last of some equal rounds, at λ = 1."""
    state, delta = rule.init(torch.zeros(matrix.shape[1], dtype=torch.float64), 7), torch.empty(0)
    for _ in range(rounds):
        delta, state = rule.step(dense(matrix, **beside), state)
    return delta.numpy()


def crowd(honest: int, hostile: int, far: float, noise: float = 0.1) -> np.ndarray:
    """Honest clients about a row of ones, and colluders `far` away in one direction."""
    draw = np.random.default_rng(3)
    rows = 1 + noise * draw.normal(size=(honest + hostile, D))
    rows[honest:] = 1 - far * np.eye(D)[0] + 0.01 * draw.normal(size=(hostile, D))
    return rows


@given(seeds, st.integers(1, 5))
@settings(max_examples=25)
def test_rfa_is_smoothed_weiszfeld_weighted_or_not(seed: int, steps: int) -> None:
    matrix = matrix_of(seed)
    weights = np.random.default_rng(seed).uniform(0.1, 3, len(matrix))
    rule = RFA(steps=steps, nearest=0.5)
    for alphas, given_weights in ((np.ones(len(matrix)), None), (weights, weights)):
        needed = oracle.weiszfeld(matrix, alphas / alphas.sum(), 0.5, steps)
        np.testing.assert_allclose(aggregate(rule, matrix, weights=given_weights), needed, atol=1e-11)


def test_half_of_the_weight_moves_a_geometric_median_and_less_does_not() -> None:
    rule = RFA(steps=60)
    assert np.abs(aggregate(rule, crowd(9, 6, 1e6)) - 1).max() < 1
    assert aggregate(rule, crowd(6, 9, 1e6))[0] < -1e5
    assert aggregate(rule, crowd(9, 6, 1e6), weights=[1] * 9 + [9] * 6)[0] < -1e5


@given(seeds, st.integers(1, 3), st.floats(0.1, 5))
@settings(max_examples=25)
def test_centered_clipping_is_the_listing_over_several_rounds(seed: int, steps: int, tau: float) -> None:
    rule = CenteredClipping(radius=tau, steps=steps)
    v, state = np.zeros(D), rule.init(torch.zeros(D, dtype=torch.float64))
    for t in range(3):
        matrix = matrix_of(seed + t)
        v = oracle.centered_clip(matrix, v, tau, steps)
        delta, state = rule.step(dense(matrix), state)
        np.testing.assert_allclose(delta.numpy(), v, atol=1e-11)


def test_one_update_moves_a_clipped_center_by_its_share_of_the_radius_and_slow_ones_move_it_far() -> None:
    honest, rule = np.zeros((9, D)), CenteredClipping(radius=0.5)
    assert abs(stepped(rule, np.vstack([honest, 1e9 * np.eye(D)[:1]]))[0] - 0.05) < 1e-9
    drift = np.vstack([np.zeros((6, D)), np.tile(1e9 * np.eye(D)[0], (4, 1))])
    assert stepped(rule, drift, rounds=1)[0] == pytest.approx(0.2)
    assert stepped(rule, drift, rounds=60)[0] > 0.3  # inside the radius nothing is clipped


@given(seeds, st.integers(0, 4))
@settings(max_examples=25)
def test_the_mean_around_the_median_is_of_the_nearest_values(seed: int, f: int) -> None:
    matrix = matrix_of(seed)
    found = aggregate(MeanAroundMedian(f=f), matrix)
    np.testing.assert_allclose(found, oracle.mean_around_median(matrix, f), atol=1e-12)


def test_the_mean_around_the_median_drops_f_values_and_no_more() -> None:
    rule = MeanAroundMedian(f=3)
    assert np.abs(aggregate(rule, crowd(9, 3, 1e6)) - 1).max() < 0.3
    assert aggregate(rule, crowd(9, 4, 1e6))[0] < -1e4


@given(seeds, st.integers(1, 9))
@settings(max_examples=25)
def test_rlr_reverses_where_the_votes_are_few(seed: int, threshold: int) -> None:
    matrix = matrix_of(seed)
    needed = oracle.robust_learning_rate(matrix, threshold)
    np.testing.assert_allclose(aggregate(RLR(threshold=threshold), matrix), needed, atol=1e-12)


def test_rlr_climbs_against_a_backdoor_below_the_threshold_and_takes_one_above_it() -> None:
    rows = np.zeros((10, 2))
    rows[:, 0] = 1.0  # what everyone agrees on
    for attackers, sign in ((3, -1), (5, 1)):
        rows[:, 1] = 0.0
        rows[:attackers, 1] = 7.0
        found = aggregate(RLR(threshold=5), rows)
        assert found[0] == pytest.approx(1)
        assert found[1] == pytest.approx(sign * 0.7 * attackers)


@given(seeds)
@settings(max_examples=20)
def test_the_majority_of_signs_decides(seed: int) -> None:
    matrix = matrix_of(seed)
    assert (aggregate(SignMajority(), matrix) == oracle.majority_vote(matrix)).all()


def test_a_minority_of_signs_is_worth_nothing_however_long_and_a_majority_everything() -> None:
    assert (aggregate(SignMajority(), crowd(8, 5, 1e9, noise=0.01)) == 1).all()
    assert aggregate(SignMajority(), crowd(5, 8, 1e9, noise=0.01))[0] == -1


@given(seeds, st.integers(1, 3), st.floats(0.5, 1.3))
@settings(max_examples=25)
def test_dnc_keeps_whom_its_listing_keeps(seed: int, f: int, c: float) -> None:
    matrix = matrix_of(seed)
    rule, draw = DnC(f=f, filter=c, iterations=2, coordinates=5), rng(7, Stream.SERVER, 1)
    samples = [np.sort(draw.choice(D, 5, replace=False)) for _ in range(2)]
    kept = oracle.divide_and_conquer(matrix, samples, int(np.ceil(c * f)))
    assert rule.kept(torch.from_numpy(matrix), 7, 1).tolist() == kept
    if kept:
        np.testing.assert_allclose(stepped(rule, matrix), matrix[kept].mean(axis=0), atol=1e-12)


def test_dnc_drops_colluders_and_falls_for_more_of_them_than_it_expects() -> None:
    assert np.abs(stepped(DnC(f=3), crowd(12, 3, 20.0)) - 1).max() < 0.2
    assert stepped(DnC(f=1), crowd(12, 3, 20.0))[0] < 0


def test_dnc_refuses_a_round_in_which_every_iteration_drops_someone_else() -> None:
    rule = DnC(f=4, filter=2.0, iterations=8, coordinates=1)
    with pytest.raises(sf.UpdateError, match="expected an update that every iteration keeps, found none"):
        stepped(rule, np.random.default_rng(0).normal(size=(9, D)))


@given(seeds, st.integers(0, 3))
@settings(max_examples=12)
def test_mda_finds_the_first_subset_of_least_diameter(seed: int, f: int) -> None:
    matrix = matrix_of(seed)[:, :3]
    assert MDA(f=f).selected(dense(matrix)).tolist() == oracle.minimum_diameter(matrix, f)
    rounded = np.round(matrix)  # many equal distances
    assert MDA(f=f).selected(dense(rounded)).tolist() == oracle.minimum_diameter(rounded, f)


def test_mda_drops_f_outliers_and_keeps_a_tight_gang_that_is_larger() -> None:
    assert np.abs(aggregate(MDA(f=3), crowd(9, 3, 50.0)) - 1).max() < 0.2
    assert aggregate(MDA(f=3), crowd(9, 4, 50.0))[0] < -3


def test_mda_with_many_attackers_is_refused_before_it_runs() -> None:
    with pytest.raises(sf.SpecError, match="`f`: expected a whole number of at least 0 and of at most 16"):
        MDA(f=17)


def test_mda_of_a_hundred_clients_takes_no_time() -> None:
    rows = np.random.default_rng(0).normal(size=(100, 4))
    assert len(MDA(f=10).selected(dense(rows))) == 90


@given(seeds, st.integers(0, 4))
@settings(max_examples=25)
def test_monna_averages_the_nearest_to_its_own_update_with_it(seed: int, f: int) -> None:
    matrix = matrix_of(seed)
    own = np.random.default_rng(seed).normal(size=D)
    needed = oracle.nearest_to_own(matrix, own, f)
    np.testing.assert_allclose(aggregate(MoNNA(f=f), matrix, own=own), needed, atol=1e-12)


def test_monna_is_as_good_as_the_server_s_own_update() -> None:
    rows, rule = crowd(9, 4, 50.0), MoNNA(f=4)
    assert np.abs(aggregate(rule, rows, own=np.ones(D)) - 1).max() < 0.2
    assert aggregate(rule, rows, own=rows[-1])[0] < -20


@given(seeds)
@settings(max_examples=25)
def test_fltrust_is_its_listing(seed: int) -> None:
    matrix = matrix_of(seed)
    own = matrix.mean(axis=0) + 0.1
    np.testing.assert_allclose(aggregate(FLTrust(), matrix, own=own), oracle.fltrust(matrix, own), atol=1e-11)


def test_fltrust_ignores_who_disagrees_and_believes_whoever_agrees() -> None:
    own, against = np.ones(D), -1e6 * np.ones(D)
    rows = np.vstack([crowd(4, 0, 0), np.tile(against, (8, 1))])
    assert np.abs(aggregate(FLTrust(), rows, own=own) - 1).max() < 0.2
    sideways = np.ones(D) + 3 * np.eye(D)[0]  # half of the way: trusted, at the length of the server's own
    rows = np.vstack([crowd(4, 0, 0), np.tile(sideways, (8, 1))])
    assert aggregate(FLTrust(), rows, own=own)[0] > 1.5


@pytest.mark.parametrize("rule", [FLTrust(), MoNNA(f=1)], ids=repr)
def test_a_rule_that_trusts_the_server_needs_an_update_of_the_server_s(rule: Aggregate) -> None:
    with pytest.raises(sf.UpdateError, match="expected an update of the server's own, found none"):
        aggregate(rule, np.ones((5, D)))
    with pytest.raises(sf.UpdateError, match="expected an update of the server's own, found one of zeros"):
        aggregate(rule, np.ones((5, D)), own=np.zeros(D))


def test_fltrust_skips_a_round_in_which_nobody_agrees_with_the_server() -> None:
    with pytest.raises(sf.UpdateError, match="expected an update that agrees with the server's own"):
        aggregate(FLTrust(), -np.ones((5, D)), own=np.ones(D))


@given(seeds, st.floats(0.3, 3))
@settings(max_examples=25)
def test_foolsgold_s_weights_are_its_listing_s(seed: int, kappa: float) -> None:
    histories = matrix_of(seed)
    rule = FoolsGold(clients=40, confidence=kappa)
    who = np.random.default_rng(seed).permutation(40)[: len(histories)]
    weights = np.array(oracle.foolsgold_weights(2 * histories, kappa))
    found = stepped(rule, histories, rounds=2, clients=who)
    np.testing.assert_allclose(found, weights @ histories / len(histories), atol=1e-9)


def test_foolsgold_mutes_many_with_one_goal_and_lets_a_lone_attacker_pass() -> None:
    draw = np.random.default_rng(1)
    honest, goal = draw.normal(size=(8, 200)), draw.normal(size=200)
    many = np.vstack([honest, np.tile(goal, (4, 1)) + 0.01 * draw.normal(size=(4, 200))])
    rule, who = FoolsGold(clients=12), np.arange(12)
    state = rule.init(torch.zeros(200, dtype=torch.float64))
    _, state = rule.step(dense(many, clients=who), state)
    kept = rule.shares_in_round(dense(many, clients=who), state).numpy()
    assert kept[:8].min() > 0.9
    assert kept[8:].max() == 0
    alone = dense(many[:9], clients=who[:9])
    _, state = rule.step(alone, rule.init(torch.zeros(200, dtype=torch.float64)))
    assert rule.shares_in_round(alone, state)[8] > 0.9


@pytest.mark.parametrize(
    ("who", "found"),
    [
        (None, "3 updates without numbers"),
        (["a", "b", "c"], "3 updates without numbers"),
        ([0, 1, 99], "client 99"),
        ([0, -1, 1], "client -1"),
    ],
)
def test_foolsgold_names_the_client_that_it_does_not_know(who: Any, found: str) -> None:
    with pytest.raises(sf.UpdateError, match=f"clients numbered from 0 to 9, each once, found {found}$"):
        stepped(FoolsGold(clients=10), np.ones((3, D)), clients=who)


@given(seeds, st.floats(0, 0.8))
@settings(max_examples=25)
def test_lasa_filters_every_layer_like_its_listing(seed: int, sparsity: float) -> None:
    matrix, layers = matrix_of(seed), [5, 7]
    rule = LASA(sparsity=sparsity, length_limit=1.5, sign_limit=2.0)
    needed = oracle.lasa(matrix, layers, sparsity, 1.5, 2.0)
    np.testing.assert_allclose(aggregate(rule, matrix, layers=layers), needed, atol=1e-11)


def test_lasa_drops_a_long_layer_and_not_the_rest_of_the_client_and_misses_who_looks_average() -> None:
    draw = np.random.default_rng(2)
    rows = np.abs(draw.normal(size=(12, 40))) * draw.choice([-1, 1], size=(12, 40))
    rows[0, :10] *= 50
    rule = LASA(sparsity=0.0, length_limit=2.0, sign_limit=3.0)
    first, rest = rule.kept(dense(rows, layers=[10, 30]))
    assert not first[0]
    assert rest[0]
    alike = rows.copy()
    alike[0] = rows[1:].mean(axis=0) * 3  # of average length and signs, in a direction of its own
    assert rule.shares(dense(alike, layers=[10, 30]))[0] > 0


def test_a_layer_that_nobody_passes_skips_the_round() -> None:
    rows = np.array([[1.0, 0.0], [-1.0, 0.0], [3.0, 0.0], [-3.0, 0.0]])
    with pytest.raises(sf.UpdateError, match="expected an update that passes both limits in layer 0"):
        aggregate(LASA(sparsity=0.0, length_limit=0.01, sign_limit=0.01), rows)


def test_flame_keeps_the_majority_that_points_one_way_clips_it_and_adds_noise() -> None:
    rows = crowd(9, 4, 30.0)
    rows[0] *= 100  # honest in direction, long
    rule = FLAME(noise=0.01)
    kept = rule.shares(dense(rows)).numpy() > 0
    assert kept[:9].sum() >= 7  # the densest part that is a majority: honest stragglers may be left out
    assert not kept[9:].any()
    length = np.median(np.linalg.norm(rows, axis=1))
    short = rows[kept] * np.minimum(1, length / np.linalg.norm(rows[kept], axis=1))[:, None]
    memory = NoiseMemory(torch.zeros(D, dtype=torch.float64), torch.tensor(7), torch.tensor(0))
    needed = short.mean(axis=0) + 0.01 * length * normal(memory).numpy()
    np.testing.assert_allclose(stepped(rule, rows), needed, rtol=1e-9)


def test_flame_follows_attackers_that_are_more_and_lets_everyone_in_where_nobody_is_alike() -> None:
    kept = FLAME().shares(dense(crowd(4, 9, 30.0)))
    assert not kept[:4].any()
    assert kept[4:].sum() >= 7
    apart = np.eye(20)  # honest clients of unlike data, and attackers no farther from them than they are
    assert FLAME().shares(dense(apart)).sum() == 20


def test_crfl_clips_and_perturbs_the_model_itself() -> None:
    rule = CRFL(norm=2.0, growth=0.5, sigma=0.1, momentum=0.5)
    theta = np.random.default_rng(0).normal(size=D)
    params, velocity = theta.copy(), np.zeros(D)
    state = rule.init(torch.from_numpy(theta.copy()), 7)
    for t in (1, 2, 3):
        matrix = matrix_of(t)
        velocity = 0.5 * velocity + matrix.mean(axis=0)
        memory = NoiseMemory(torch.zeros(D, dtype=torch.float64), torch.tensor(7), torch.tensor(t - 1))
        noise = 0.1 * normal(memory).numpy()
        clipped, theta = oracle.crfl(theta, 0.1 * velocity, 2.0 + 0.5 * t, noise)
        delta, state = rule.step(dense(matrix), state, 0.1)
        params = params - delta.numpy()
        np.testing.assert_allclose(params, theta, atol=1e-12)
        np.testing.assert_allclose(state.clipped.numpy(), clipped, atol=1e-12)


def test_what_crfl_allows_is_a_length_and_not_a_direction() -> None:
    rule, far = CRFL(norm=1.0, sigma=0.0), 1e6 * np.eye(D)[0]
    delta = stepped(rule, np.tile(-far, (3, 1)))
    np.testing.assert_allclose(-delta, np.eye(D)[0])  # on the sphere, and all the attackers'

"""What every defense reports of a round."""

import numpy as np
import pytest
import torch

from sparsefed.defenses import (
    AutoSparseFed,
    Bulyan,
    Defense,
    FetchSGD,
    GaussianNoise,
    Krum,
    LiteralNoise,
    Mean,
    Median,
    MultiKrum,
    PaperBulyan,
    PaperFetchSGD,
    PaperKrum,
    SparseFed,
    TrimmedMean,
)
from sparsefed.protocol.dense import dense
from sparsefed.protocol.joined import Joined
from sparsefed.protocol.updates import Dense

N, D = 13, 60
KEPT = [
    (Mean(), N),
    (SparseFed(k=5), N),
    (AutoSparseFed(), N),
    (FetchSGD(k=5, columns=500), N),
    (PaperFetchSGD(k=5, columns=500), N),
    (GaussianNoise(sigma=0.1), N),
    (LiteralNoise(sigma=0.1), N),
    (TrimmedMean(f=2), N - 4),
    (Median(), 1),
    (Krum(f=2), 1),
    (PaperKrum(f=2), 1),
    (MultiKrum(f=2, m=4), 4),
    (Bulyan(f=2), N - 8),
    (PaperBulyan(f=2), N - 8),
]
every_defense = pytest.mark.parametrize(("rule", "kept"), KEPT, ids=repr)


def report_of(rule: Defense, matrix: np.ndarray, honest: int | None, lr: float = 0.5) -> dict[str, float]:
    updates = dense(matrix)
    delta, state = rule.step(updates, rule.init(torch.zeros(matrix.shape[1], dtype=torch.float64)), lr)
    return rule.diagnose(updates, state, delta, lr, honest)


@every_defense
def test_what_is_kept_and_dropped_adds_up(rule: Defense, kept: int) -> None:
    matrix = np.random.default_rng(0).normal(size=(N, D))
    report = report_of(rule, matrix, honest=N)
    assert report["kept"] == pytest.approx(kept)
    assert report["kept"] + report["dropped"] == pytest.approx(N)
    assert report["compromised_kept"] == 0
    assert report_of(rule, matrix, honest=0)["compromised_kept"] == pytest.approx(kept)
    assert "compromised_kept" not in report_of(rule, matrix, honest=None)
    assert all(isinstance(value, float) for value in report.values())


@every_defense
def test_wild_attackers_are_kept_out_by_every_rule_that_compares(rule: Defense, kept: int) -> None:
    matrix = np.random.default_rng(1).normal(size=(N, D))
    matrix[-2] += 1e4
    matrix[-1] -= 2e4
    got_in = report_of(rule, matrix, honest=N - 2)["compromised_kept"]
    assert got_in == (0 if rule.needs_rows else 2)


def test_hidden_colluders_are_seen_getting_in() -> None:
    draw = np.random.default_rng(2)
    matrix = np.concatenate([draw.normal(size=(8, D)), np.tile(0.1 * draw.normal(size=D), (5, 1))])
    assert report_of(Krum(f=2), matrix, honest=8)["compromised_kept"] == 1
    assert report_of(Bulyan(f=2), matrix, honest=8)["compromised_kept"] > 2
    assert report_of(TrimmedMean(f=2), matrix, honest=8)["compromised_kept"] > 4


def test_shares_are_exact_where_every_coordinate_is_looked_at() -> None:
    matrix = np.array(
        [[1.0, 5.0, 0.0, 9.0], [2.0, 4.0, 3.0, 8.0], [3.0, 3.0, -1.0, 7.0], [9.0, 0.0, 2.0, 6.0]]
    )
    rows = matrix[:3]
    assert TrimmedMean(f=1).shares(dense(rows)).tolist() == [0.25, 0.75, 0.0]
    assert Median().shares(dense(matrix)).tolist() == [0.25, 0.75, 0.75, 0.25]


def test_coordinates_are_sampled_where_there_are_many() -> None:
    matrix = np.random.default_rng(3).normal(size=(N, 50_000))
    ranks = matrix.argsort(axis=0).argsort(axis=0)
    exact = ((ranks >= 2) & (ranks < N - 2)).mean(axis=1)
    assert np.abs(TrimmedMean(f=2).shares(dense(matrix)).numpy() - exact).max() < 5 * 0.016


def test_the_mass_lost_is_the_share_of_the_error_that_did_not_move_the_model() -> None:
    matrix = np.array([[4.0, -3.0, 2.0, 1.0]])
    for lr_in_error in (False, True):
        report = report_of(SparseFed(k=2, lr_in_error=lr_in_error), matrix, None, lr=0.1)
        assert report["mass_lost"] == pytest.approx(0.3)
        assert report["support"] == 2
    assert report_of(SparseFed(k=4), matrix, None)["mass_lost"] == 0
    assert report_of(SparseFed(k=2), np.zeros((1, 4)), None)["mass_lost"] == 0


def test_auto_sparsefed_reports_its_k() -> None:
    report = report_of(AutoSparseFed(max_loss=0.35), np.array([[4.0, -3.0, 2.0, 1.0]]), None)
    assert report["k"] == 2
    assert report["mass_lost"] == pytest.approx(0.3)


def test_the_noise_reports_its_size() -> None:
    matrix = np.ones((4, 100))
    assert report_of(GaussianNoise(sigma=2.0), matrix, None)["noise_norm"] == pytest.approx(5.0)
    assert report_of(LiteralNoise(sigma=2.0), matrix, None)["noise_norm"] == pytest.approx(20.0)


def test_clipped_and_joined_updates_are_diagnosed_like_their_matrix() -> None:
    draw = np.random.default_rng(4)
    honest, poison = draw.normal(size=(9, D)), np.tile(draw.normal(size=D), (4, 1))
    joined = Joined(
        dense(honest).admitted(5.0), Dense(torch.from_numpy(poison[:1]).expand(4, -1)).admitted(5.0)
    )
    whole = dense(np.concatenate([honest, poison])).admitted(5.0)
    for rule in (Krum(f=2), MultiKrum(f=2, m=3), Bulyan(f=2), TrimmedMean(f=2), Median()):
        assert torch.equal(rule.shares(joined), rule.shares(whole)), rule
        assert torch.allclose(rule.aggregate(joined), rule.aggregate(whole), rtol=1e-12, atol=1e-14), rule

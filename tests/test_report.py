"""Who was let in, who was clipped and by how much, who was left out and why."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

import sparsefed as sf


def test_a_round_is_reported_client_by_client() -> None:
    sent = [np.array([3.0, 4.0]), np.array([np.nan, 0.0]), np.zeros(3), np.array([0.3, 0.4]), "hello"]
    updates = sf.dense(sent, clients=["ann", "bob", "cid", "dee", "eve"]).admitted(1.0)
    ann, bob, cid, dee, eve = updates.report()
    assert ann == (
        "ann",
        5.0,
        pytest.approx(0.2),
        pytest.approx(math.nan, nan_ok=True),
        "",
        pytest.approx(math.nan, nan_ok=True),
        False,
    )
    assert (bob.clip, bob.share, bob.problem) == (0, 0, "expected finite numbers, found NaN or infinity")
    assert cid.problem == "expected shape (2,), found shape (3,)"
    assert (dee.clip, dee.problem) == (1.0, "")
    assert eve.problem == "expected floats, found a str"
    assert str(ann) == "ann: clipped to 0.2 of its norm 5"
    assert str(bob) == "bob: left out: expected finite numbers, found NaN or infinity"
    assert str(dee) == "dee: accepted"


def test_a_rules_shares_stand_beside_the_clip() -> None:
    matrix = np.random.default_rng(0).normal(size=(8, 30))
    matrix[3] = np.inf
    updates = sf.dense(matrix).admitted(100.0)
    rule = sf.MultiKrum(f=1, m=4)
    report = updates.report(rule.shares(updates))
    assert sum(line.share for line in report) == 4
    assert report[3].share == 0
    assert str(report[int(rule.selected(updates)[0])]).endswith("accepted, 100 % of it in the aggregate")
    with pytest.raises(sf.UpdateError, match="expected a share for each of 7 updates let in, found 8"):
        updates.report(torch.ones(8))


def test_a_client_that_owns_the_aggregate_by_its_weight_is_reported_with_it() -> None:
    updates = sf.dense(np.eye(4), weights=[1e308, 1e308, 1, 1]).admitted(1.0)
    report = updates.report(sf.Mean().shares(updates))
    assert [line.weight for line in report] == pytest.approx([0.5, 0.5, 0, 0])
    assert str(report[0]) == "0: accepted, 100 % of it in the aggregate, with 50 % of the weight"
    assert math.isnan(sf.dense(np.eye(2), weights=[0, 0]).report()[0].weight)
    assert sf.dense([np.zeros(2)], weights=[-1], size=2).report()[0].problem


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 10), st.floats(0.1, 10))
def test_a_chain_of_clips_is_reported_from_what_was_sent(seed: int, first: float, second: float) -> None:
    matrix = np.random.default_rng(seed).normal(size=(5, 7))
    matrix[seed % 5, 0] = np.nan
    once, twice = sf.dense(matrix), sf.dense(matrix).admitted(first).admitted(second)
    for before, after in zip(once.report(), twice.report(), strict=True):
        assert after.norm == pytest.approx(before.norm, nan_ok=True)
        if after.problem == "":
            assert after.clip * after.norm == pytest.approx(min(after.norm, first, second))


def test_an_enormous_update_is_clipped_and_reported_with_its_true_norm() -> None:
    for dtype, scale in ((np.float32, 1e38), (np.float64, 1e308)):
        matrix = np.random.default_rng(0).uniform(0.1, 1, size=(3, 50)).astype(dtype)
        matrix[1] *= scale
        updates = sf.dense(matrix).admitted(2.0)
        assert updates.count == 3
        assert float(updates.rows()[1].norm()) == pytest.approx(2.0, rel=1e-6)
        report = updates.report()[1]
        assert report.norm == pytest.approx(
            min(scale * float(np.linalg.norm(matrix[1] / scale)), 1.7976931348623157e308), rel=1e-6
        )
        assert 0 < report.clip < 1e-30

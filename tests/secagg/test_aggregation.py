"""`aggregation = { type = "Pine" }`: the sum of what was rounded, whether or not the protocol runs."""

import hashlib
import json

import numpy as np
import pytest
import small
import torch
from hypothesis import given, settings, strategies as st

import sparsefed as sf
from sparsefed.defenses import FetchSGD, Krum, Mean
from sparsefed.federation.round import Federation, run_round
from sparsefed.protocol.dense import dense
from sparsefed.protocol.joined import Joined
from sparsefed.secagg import FixedPoint


def matrix(seed: int, clients: int, size: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((clients, size)))


@settings(max_examples=10)
@given(st.integers(0, 2**32), st.integers(2, 4), st.integers(1, 40), st.sampled_from([1e-3, 1.0, 50.0]))
def test_the_plain_path_gives_the_sum_of_the_real_protocol_bit_for_bit(
    seed: int, clients: int, size: int, norm: float
):
    rows = matrix(seed, clients, size)
    sums = [kind().seen(dense(rows).admitted(norm), norm).sum() for kind in (sf.Pine, sf.VerifiedPine)]
    assert torch.equal(*sums)
    code = FixedPoint(norm)
    encoded = sum(code.encode(row.numpy()) for row in dense(rows).admitted(norm).rows())
    assert sums[0].tolist() == (encoded / code.scale).tolist()


def test_two_groups_of_clients_add_up_like_one():
    rows = matrix(0, 6, 10)
    whole = sf.Pine().seen(dense(rows).admitted(1.0), 1.0)
    parted = sf.Pine().seen(Joined(dense(rows[:2]), dense(rows[2:])).admitted(1.0), 1.0)
    assert torch.equal(whole.mean(), parted.mean())


def test_the_server_sees_a_count_and_one_sum_and_nothing_else():
    seen = sf.Pine().seen(dense(matrix(0, 3, 10)).admitted(1.0), 1.0)
    for ask in (
        seen.norms, seen.rows, seen.as_dense, seen.gram, seen.squared_distances, seen.admitted,
        lambda: seen.weighted_sum([1, 1, 1]),
    ):  # fmt: skip
        with pytest.raises(sf.UpdateError, match="the sum alone"):
            ask()
    seen.mean()
    with pytest.raises(sf.UpdateError, match="one sum per round"):
        seen.mean_of(lambda row: row, 1.0)


def test_too_few_updates_are_not_added_up():
    with pytest.raises(sf.UpdateError, match="expected at least 3 updates"):
        sf.Pine(min_batch=3).seen(dense(matrix(0, 2, 10)), 1.0)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"defense": Krum(f=1)}, "Krum.*looks at single updates"),
        ({"defense": sf.Median()}, "no server sees one"),
        ({"defense": {"type": "ARC", "f": 1, "rule": {"type": "Mean"}}}, "ARC.*no server sees one"),
        ({"clip": sf.Unclipped()}, "found Unclipped.*none"),
        ({"clip": sf.QuantileClip()}, "asks for norms"),
    ],
)
def test_rules_and_clips_that_need_single_updates_are_refused_with_the_reason(changes: dict, complaint: str):
    with pytest.raises(sf.SpecError, match=complaint):
        small.experiment(aggregation={"type": "Pine"}, **changes)


def test_plain_aggregation_leaves_names_of_runs_and_has_no_protocol_to_run():
    spec = small.experiment()
    known = {key: value for key, value in spec.to_dict().items() if key != "aggregation"}
    text = json.dumps(known, sort_keys=True, separators=(",", ":"))
    assert spec.digest() == hashlib.sha256(text.encode()).hexdigest()[:16]  # as before there was the key
    assert spec.but(aggregation=sf.Pine()).digest() != spec.digest()
    with pytest.raises(sf.SpecError, match="such as Pine"):
        spec.aggregation.verified()


@pytest.mark.parametrize(
    ("defense", "tolerance"),
    [
        (sf.SparseFed(k=50, momentum=0.9), 1e-4),
        (
            FetchSGD(k=30, columns=300, momentum=0.9),
            0.2,
        ),  # tables are clipped, which are long by up to √(2/300)
        (Mean(momentum=0.9), 1e-4),
    ],
)
def test_an_attacked_training_run_moves_as_plainly_with_the_protocol_or_without(
    defense: sf.Defense, tolerance: float
):
    """Where the model moves is the same as without secure aggregation; how far, up to rounding."""
    plain = small.experiment(
        rounds=2, cohort=6, defense=defense, attack=small.attack(presence=sf.Pool(fraction=0.3))
    )
    ends = []
    for aggregation in (sf.Plain(), sf.Pine(), sf.VerifiedPine()):
        fed = Federation.of(plain.but(aggregation=aggregation))
        state = fed.initial_state
        for _ in range(2):
            state, report = run_round(fed, state)
            assert report.skipped is None
        ends.append(state.params - fed.initial)
    assert torch.equal(ends[1], ends[2])
    torch.testing.assert_close(ends[0], ends[1], rtol=tolerance, atol=1e-6)
    if isinstance(defense, sf.SparseFed):
        assert torch.equal(ends[0] != 0, ends[1] != 0)


def test_the_table_is_what_is_bounded_and_added_up_for_a_rule_of_sketches():
    rule = FetchSGD(k=3, rows=5, columns=40)
    state = rule.init(torch.zeros(30, dtype=torch.float64), seed=1)
    sketch, rows = rule.sketch(state), matrix(3, 4, 30)
    clipped = dense(rows).admitted(0.5)
    seen = sf.VerifiedPine().seen(clipped, 0.5)
    table = seen.mean_of(sketch.accumulate, 5**0.5)
    code = FixedPoint(5**0.5 * 0.5)
    encoded = sum(code.encode(sketch.accumulate(row).numpy().ravel()) for row in clipped.rows())
    assert table.ravel().tolist() == (encoded / code.scale / 4).tolist()
    _, after = rule.step(sf.Pine().seen(clipped, 0.5), state)
    assert after.velocity.shape == table.shape

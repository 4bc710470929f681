"""PINE against the slow implementation, its published answers, and what must and must not pass."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from rounds import KEY, NONCE, accepted, random, small
from slow_pine import SlowPine

from sparsefed import SpecError, UpdateError
from sparsefed.secagg import Parameters, Pine
from sparsefed.secagg.field import add
from sparsefed.secagg.vectors import difference, main


@pytest.fixture(scope="module")
def published(shared_data: Path) -> list[Path]:
    files = sorted((shared_data / "pine").glob("Pine64HmacSha256Aes128_*.json"))
    if not files:
        pytest.skip("needs the published answers in the folder of real data")
    return files


def test_the_published_answers_come_out_byte_for_byte(published: list[Path]):
    assert [difference(file) for file in published] == [None] * 5


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("prep[0].public_share", lambda known: _flip(known["prep"][0], "public_share")),
        ("prep[0].prep_shares[0][0]", lambda known: known.update(verify_key=known["verify_key"][::-1])),
        ("prep[1].input_shares[0]", lambda known: _flip(known["prep"][1]["input_shares"], 0)),
        ("prep[0].out_shares[1]", lambda known: _flip(known["prep"][0]["out_shares"][1], 3)),
        ("agg_shares[1]", lambda known: _flip(known["agg_shares"], 1)),
        ("agg_result", lambda known: known["agg_result"].reverse()),
    ],
)
def test_a_file_that_differs_is_named_with_its_first_field(
    published: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], field: str, change
):
    known = json.loads(published[1].read_text())
    change(known)
    file = tmp_path / "changed.json"
    file.write_text(json.dumps(known))
    assert main([str(published[0]), str(file)]) == 1
    assert f"{file}: {field} differs" in capsys.readouterr().err


def _flip(items, at) -> None:
    items[at] = ("0" if items[at][0] != "0" else "1") + items[at][1:]


def test_a_file_of_another_form_ends_with_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "other.json"
    for text in ("{}", "not JSON", '{"field": "Field128", "shares": 2}'):
        file.write_text(text)
        assert main([str(file)]) == 2
        assert "expected" in capsys.readouterr().err
    assert main([str(tmp_path / "absent.json")]) == 2
    assert main([]) == 2


def test_our_own_answers_stay_as_they_were_when_the_published_ones_had_passed():
    pine = Pine(Parameters(dimension=1000, bound=2**24))
    draw, found = np.random.default_rng(0), hashlib.sha256()
    for seed in range(2):
        vector = draw.integers(-(2**18), 2**18, 1000)
        report = pine.shard(vector, NONCE, random(seed))
        found.update(report.public + b"".join(report.shares))
        for i in range(2):
            prepared = pine.prepare(KEY, i, NONCE, report.public, report.shares[i])
            found.update(prepared.message + prepared.output.tobytes())
    assert found.hexdigest() == OURS


OURS = "dc799d9fd3601f9b1e46cff49ebfb17a1ff2808026ff490eb74bd77664c9e055"


@settings(max_examples=15)
@given(data=st.data())
def test_every_byte_is_the_one_of_the_slow_implementation(data: st.DataObject):
    dimension = data.draw(st.integers(1, 40))
    checks = data.draw(st.integers(1, 5))
    parameters = Parameters(
        dimension=dimension,
        bound=data.draw(st.sampled_from([1, 3, 1000, 2**15 + 1, 2**24])),
        norm_proofs=data.draw(st.integers(1, 2)),
        proofs=data.draw(st.integers(1, 2)),
        chunk=data.draw(st.integers(20, 70)),
        norm_chunk=data.draw(st.integers(-(-dimension // 15), dimension)),
        checks=checks,
        successes=data.draw(st.integers(1, checks)),
    )
    seed = data.draw(st.integers(0, 2**32))
    draw = np.random.default_rng(seed)
    vector = draw.standard_normal(dimension)
    vector = np.trunc(vector / np.linalg.norm(vector) * parameters.bound).astype(np.int64)
    pine, oracle, shuffled = Pine(parameters), SlowPine(parameters), random(seed)
    report = pine.shard(vector, NONCE, shuffled)
    assert (report.public, report.shares) == oracle.shard(vector.tolist(), NONCE, shuffled)
    assert pine.sizes[:3] == (len(report.public), *map(len, report.shares))
    for i in range(2):
        prepared = pine.prepare(KEY, i, NONCE, report.public, report.shares[i])
        output, message = oracle.prepare(KEY, i, NONCE, report.public, report.shares[i])
        assert prepared.output.tolist() == output
        assert prepared.message == message
        assert len(message) == pine.sizes[3]
    np.testing.assert_array_equal(accepted(pine, report), vector)


@settings(max_examples=20)
@given(st.integers(1, 300), st.integers(1, 2**32))
def test_a_vector_as_long_as_the_bound_is_accepted_and_comes_back(dimension: int, seed: int):
    pine = Pine(small(dimension=dimension, checks=20, successes=20))
    vector = np.zeros(dimension, np.int64)
    vector[seed % dimension] = -(2**12)
    np.testing.assert_array_equal(accepted(pine, pine.shard(vector, NONCE, random(seed))), vector)


def test_a_vector_of_zeros_is_accepted():
    pine = Pine(small())
    assert not accepted(pine, pine.shard(np.zeros(10, np.int64), NONCE)).any()


@pytest.mark.parametrize(
    "vector",
    [
        np.array([2**12 + 1] + [0] * 9),
        np.array([2**12, 1] + [0] * 8),
        np.full(10, 2**61),
        np.full(10, -(2**63)),
        np.zeros(9, np.int64),
        np.zeros((2, 5), np.int64),
        np.zeros(10),
    ],
)
def test_the_client_refuses_what_no_aggregator_would_accept(vector: np.ndarray):
    with pytest.raises(UpdateError, match="expected"):
        Pine(small()).shard(vector, NONCE)


def test_shares_of_many_reports_add_up_to_the_sum_of_the_vectors():
    pine, draw = Pine(small(dimension=30)), np.random.default_rng(1)
    vectors = draw.integers(-500, 500, (5, 30))
    total = sum(accepted(pine, pine.shard(vector, NONCE, random(i))) for i, vector in enumerate(vectors))
    np.testing.assert_array_equal(total, vectors.sum(axis=0))


def test_two_reports_of_one_vector_share_no_byte_string():
    pine = Pine(small())
    first, second = (pine.shard(np.arange(10), NONCE) for _ in range(2))
    assert first.public != second.public
    a, b = (np.frombuffer(r.shares[0][:80], np.uint64) for r in (first, second))
    assert not (a == b).any()
    assert add(a, b).shape == (10,)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"bound": 2**31 + 2**29}, "q > 3B"),
        ({"bound": 2**30, "alpha": 2.0**25}, "q ≥ 2600 W"),
        ({"bound": 2**25}, "q ≥ 81 W²"),
        ({"bound": 2**30}, "q ≥ 81 W²"),
        ({"bound": 2**20, "alpha": 2.0**9}, "q ≥ 81 W²"),
        ({"dimension": 0}, "from 1 to"),
        ({"bound": 0}, "from 1 to"),
        ({"bound": 1.5}, "an integer"),
        ({"proofs": 0}, "from 1 to 255"),
        ({"norm_proofs": 256}, "from 1 to 255"),
        ({"successes": 101}, "from 1 to 100"),
        ({"norm_chunk": 11}, "1 to 10"),
        ({"alpha": float("nan")}, "above 0"),
    ],
)
def test_parameters_that_prove_nothing_are_refused(changes: dict, complaint: str):
    with pytest.raises(SpecError, match=complaint):
        small(**changes)

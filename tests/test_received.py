"""Updates, weights and ids as people have them: every usual form is taken, what cannot be used is named."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

import sparsefed as sf
from sparsefed.core.text import named_type

ROWS = np.random.default_rng(0).normal(size=(4, 6))


def as_layers(row: np.ndarray) -> list[np.ndarray]:
    return [row[:4].reshape(2, 2), row[4:]]


FORMS: dict[str, Any] = {
    "a matrix": ROWS,
    "a tensor": torch.from_numpy(ROWS),
    "a view": np.repeat(ROWS, 2, axis=1)[:, ::2],
    "back to front": ROWS[::-1][::-1],
    "a transposed tensor": torch.from_numpy(ROWS.T.copy()).T,
    "the other byte order": ROWS.astype(">f8"),
    "extended precision": ROWS.astype(np.longdouble),
    "vectors": list(ROWS),
    "tensors": [torch.from_numpy(row) for row in ROWS],
    "tensors that require gradients": [torch.from_numpy(row).requires_grad_() for row in ROWS],
    "a tuple of both": (torch.from_numpy(ROWS[0]), *ROWS[1:]),
    "lists of numbers": ROWS.tolist(),
    "layers": [as_layers(row) for row in ROWS],
    "layers of tensors": [list(map(torch.from_numpy, as_layers(row))) for row in ROWS],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_usual_form_gives_the_same_rows(form: str) -> None:
    updates = sf.dense(FORMS[form], size=6)
    assert np.array_equal(updates.rows().numpy(), ROWS)
    assert not updates.rows().requires_grad


def test_arrays_share_their_memory_and_are_never_written_to() -> None:
    for rows in (ROWS, torch.from_numpy(ROWS)):
        before = ROWS.copy()
        updates = sf.dense(rows)
        assert np.shares_memory(updates.matrix.numpy(), ROWS)
        updates.admitted(1e-3).mean()
        assert np.array_equal(rows, before)
    frozen = ROWS.copy()
    frozen.flags.writeable = False
    assert np.array_equal(sf.dense(frozen).rows().numpy(), ROWS)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_types_are_widened_before_anything_is_added_up(dtype: torch.dtype) -> None:
    updates = sf.dense(torch.full((3, 1_000_000), 100.0, dtype=dtype))
    assert updates.norms().tolist() == pytest.approx([1e5] * 3, rel=1e-3)
    assert updates.admitted(1.0).count == 3
    assert float(updates.mean()[0]) == 100.0


HOSTILE: dict[str, tuple[Any, str]] = {
    "nothing": (None, "expected floats, found nothing"),
    "a word": ("poison", "expected floats, found a str"),
    "bytes": (b"poison", "expected floats, found a bytes"),
    "too long": (np.zeros(7), "expected shape (6,), found shape (7,)"),
    "a scalar": (np.float64(3), "expected shape (6,), found shape ()"),
    "a row of its own": (np.zeros((1, 6)), "expected shape (6,), found shape (1, 6)"),
    "layers": (as_layers(ROWS[0]), "expected shape (6,), found shapes (2, 2), (2,)"),
    "ragged": ([[1.0], [2.0, 3.0]], "expected floats, found a list"),
    "integers": (np.zeros(6, int), "expected floats, found int64"),
    "an integer tensor": (torch.zeros(6, dtype=torch.int8), "expected floats, found int8"),
    "complex": (np.zeros(6, complex), "expected floats, found complex128"),
    "objects": (np.array([None] * 6), "expected floats, found object"),
    "words": (np.array(["1"] * 6), "expected floats, found <U1"),
    "sparse": (torch.zeros(6).to_sparse(), "expected floats, found a sparse_coo tensor"),
    "nowhere": (torch.zeros(6, device="meta"), "expected floats, found a tensor without numbers (meta)"),
    "empty": ([], "expected shape (6,), found shape (0,)"),
    "beyond any float": ([10**400] * 6, "expected floats, found a list that is no array (OverflowError)"),
    "eight bits": (torch.zeros(6).to(torch.float8_e4m3fn), "expected floats, found float8_e4m3fn"),
    "a dictionary": ({"w": np.zeros(6)}, "expected floats, found a dict"),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("place", [0, 2, 4])
def test_an_update_that_cannot_be_used_costs_its_client_the_round_and_no_one_else(
    kind: str, place: int
) -> None:
    bad, problem = HOSTILE[kind]
    sent: list[Any] = list(ROWS)
    sent.insert(place, bad)
    updates = sf.dense(sent, clients=list("abcde"), weights=[1, 1, 1, 1, 1]).admitted(10.0)
    assert np.array_equal(updates.rows().numpy(), ROWS)
    report = updates.report()
    assert [line.client for line in report] == list("abcde")
    assert [line.problem for line in report] == [problem if i == place else "" for i in range(5)]
    assert updates.weights is not None
    assert len(updates.weights) == 4


@pytest.mark.parametrize("kind", [kind for kind in HOSTILE if kind not in {"a row of its own", "layers"}])
def test_nothing_but_what_cannot_be_used_is_one_clear_line_or_an_empty_round(kind: str) -> None:
    bad, _ = HOSTILE[kind]
    empty = sf.dense([bad, bad], size=6)
    assert empty.rows().shape == (0, 6)
    assert len(empty.report()) == 2
    with pytest.raises(sf.UpdateError, match="expected at least 1 update, found 0"):
        sf.Mean().step(empty, sf.Mean().init(torch.zeros(6)))


def test_a_size_outvotes_a_majority_of_another_shape() -> None:
    sent = [np.zeros(3), np.zeros(3), ROWS[0]]
    assert sf.dense(sent).size == 3
    updates = sf.dense(sent, size=6)
    assert updates.size == 6
    assert updates.report()[0].problem == "expected 6 numbers, found shape (3,)"
    with pytest.raises(sf.UpdateError, match="expected updates of 7 parameters, found 6"):
        sf.dense(ROWS, size=7)


def test_the_servers_own_shapes_outvote_any_majority() -> None:
    model = [np.zeros((2, 2)), np.zeros(2)]
    majority = [[row[:2], row[2:].reshape(2, 2)] for row in ROWS[:3]]
    updates = sf.dense([*majority, as_layers(ROWS[3])], like=model)
    assert np.array_equal(updates.rows().numpy(), ROWS[3:])
    assert updates.report()[0].problem == "expected shapes (2, 2), (2,), found shapes (2,), (2, 2)"
    assert updates.aside.layers == (4, 2)
    assert sf.dense([], like=model).rows().shape == (0, 6)
    assert sf.dense(ROWS, like=torch.zeros(6)).count == 4
    assert sf.dense([*majority, as_layers(ROWS[3])], size=6).count == 4  # a number has no shapes
    with pytest.raises(sf.UpdateError, match="expected updates of 5 parameters, found 6"):
        sf.dense(ROWS, like=np.zeros(5))
    for wrong in ("model", [None], {"w": np.zeros(6)}):
        with pytest.raises(
            sf.UpdateError, match=r"`like`: expected the model as a vector .*, found (a|nothing)"
        ):
            sf.dense(ROWS, like=wrong)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_tensors_of_several_devices_meet_where_the_first_is() -> None:
    mixed = [torch.from_numpy(ROWS[0]).cuda(), *ROWS[1:]]
    assert sf.dense(mixed).rows().device.type == "cuda"
    state = sf.Mean().init(torch.zeros(6))
    assert (
        sf.Mean().step(sf.dense(mixed), state)[0].device.type == "cpu"
    )  # the server's place is the server's


WEIGHTS: dict[str, Any] = {
    "a list": [10, 20, 30, 40],
    "a tuple of floats": (10.0, 20.0, 30.0, 40.0),
    "integers": np.array([10, 20, 30, 40]),
    "unsigned": np.array([10, 20, 30, 40], np.uint8),
    "single precision": np.array([10, 20, 30, 40], np.float32),
    "half a tensor": torch.tensor([10, 20, 30, 40], dtype=torch.bfloat16),
    "an integer tensor": torch.tensor([10, 20, 30, 40]),
    "a tensor that requires gradients": torch.tensor([10.0, 20, 30, 40]).requires_grad_(),
}


@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_of_every_kind_weigh(kind: str, dtype: type) -> None:
    rows = ROWS.astype(dtype)
    expected = np.average(rows, axis=0, weights=[1, 2, 3, 4])
    given = WEIGHTS[kind]
    np.testing.assert_allclose(sf.dense(rows, weights=given).mean().numpy(), expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(
        sf.dense(rows).weighted_sum(given).numpy(), 100 * expected, rtol=1e-5, atol=1e-5
    )
    repeated = sf.dense(torch.from_numpy(rows[:1]).expand(4, -1))
    np.testing.assert_allclose(repeated.weighted_sum(given).numpy(), 100 * rows[0], rtol=1e-6)


NO_WEIGHTS = [
    *([1, 2], [], 3.0, [[1, 2, 3, 4]], "1234", np.ones(4, complex), {"a": 1}),
    *(torch.ones(4).to_sparse(), torch.ones(4, device="meta")),
]
CLAIMS: dict[str, tuple[Any, str]] = {
    "below 0": (-1e-9, "-1e-09"),
    "NaN": (np.nan, "nan"),
    "infinite": (np.inf, "inf"),
    "too large for a float": (10**400, "an int"),
    "text": ("1", "a str"),
    "nothing": (None, "nothing"),
    "a list": ([1], "a list"),
    "complex": (1j, "a complex"),
}


@pytest.mark.parametrize("wrong", [*NO_WEIGHTS, *([1, 2, 3, claim] for claim, _ in CLAIMS.values())], ids=str)
def test_weights_that_are_none_are_refused_in_one_line(wrong: Any) -> None:
    with pytest.raises(sf.UpdateError, match=r"^expected .*weights.*, found .*"):
        sf.dense(ROWS).weighted_sum(wrong)


@pytest.mark.parametrize("wrong", NO_WEIGHTS, ids=str)
def test_weights_of_another_number_or_form_are_the_servers_mistake(wrong: Any) -> None:
    with pytest.raises(sf.UpdateError, match=r"^expected .*weights.*, found .*"):
        sf.dense(ROWS, weights=wrong)


@pytest.mark.parametrize("kind", CLAIMS)
def test_a_weight_that_a_client_cannot_have_costs_this_client_its_round(kind: str) -> None:
    claim, found = CLAIMS[kind]
    updates = sf.dense(ROWS, weights=[3, claim, 1, 0], clients=list("abcd"))
    assert updates.report()[1].problem == f"expected a finite weight of at least 0, found {found}"
    assert np.array_equal(updates.rows().numpy(), ROWS[[0, 2, 3]])
    np.testing.assert_allclose(updates.mean().numpy(), (3 * ROWS[0] + ROWS[2]) / 4, rtol=1e-6)


def test_a_second_update_of_a_client_is_left_out_with_a_reason() -> None:
    ids = ["ann", 1, "1", "ann"]
    for sent in (ROWS, list(ROWS)):
        updates = sf.dense(sent, clients=ids)
        assert np.array_equal(updates.rows().numpy(), ROWS[:2])
        assert [line.problem for line in updates.report()] == [
            *("", ""),
            "expected one update per client, found another from 1",
            "expected one update per client, found another from ann",
        ]


def test_ids_are_one_for_each_client() -> None:
    with pytest.raises(sf.UpdateError, match="expected 4 client ids, found 3"):
        sf.dense(ROWS, clients=["a", "b", "c"])
    assert [line.client for line in sf.dense(ROWS, clients=np.arange(7, 11)).report()] == [7, 8, 9, 10]


@given(st.integers(0, 2**32 - 1))
def test_the_weighted_mean_lies_among_the_updates_and_ignores_the_weights_scale(seed: int) -> None:
    draw = np.random.default_rng(seed)
    rows, weights = draw.normal(size=(5, 3)), draw.integers(0, 9, 5)
    if not weights.any():
        with pytest.raises(sf.UpdateError, match="expected a weight above 0 among 5 updates, found none"):
            sf.dense(rows, weights=weights).mean()
        return
    mean = sf.dense(rows, weights=weights).mean().numpy()
    assert (mean <= rows[weights > 0].max(axis=0) + 1e-12).all()
    np.testing.assert_allclose(sf.dense(rows, weights=weights * 1e200).mean().numpy(), mean, rtol=1e-12)


def test_what_a_value_is_reads_as_english() -> None:
    values = [None, 1, "a", np.zeros(1), np.uint8(1), OSError(), {1}]
    assert list(map(named_type, values)) == [
        "nothing",
        "an int",
        "a str",
        "an ndarray",
        "a uint8",
        "an OSError",
        "a set",
    ]

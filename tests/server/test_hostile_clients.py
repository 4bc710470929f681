"""Whatever comes from a client costs that client its round: no error, and no other client's update."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

import sparsefed as sf
from sparsefed.server import Keeper, Rules, Upload

SHAPES = {"weight": (3, 2), "bias": (3,)}
MODEL = {name: np.ones(shape, np.float32) for name, shape in SHAPES.items()}


class Lying(Mapping[str, Any]):
    """A mapping with the right names that fails when it is read."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("boo")

    def __iter__(self) -> Any:
        return iter(MODEL)

    def __len__(self) -> int:
        return 2


class Unspeakable:
    """An object that cannot even be printed."""

    def __str__(self) -> str:
        raise RuntimeError("boo")

    __repr__ = __float__ = __array__ = __str__


ARRAYS: list[Any] = [
    *(np.zeros(9, dtype) for dtype in ("f2", "f4", "f8", "g", ">f4", "i4", "u1", "?", "c8", "U3", "M8[s]")),
    *(np.array([None] * 9), np.zeros(9, [("a" * 500, "f4")]), np.zeros((3, 3)), np.zeros(0), np.float64(1)),
    *(np.full(9, np.nan), np.full(9, np.inf), np.full(9, 1e30), np.full(9, 1e300), np.full(9, 1e-45)),
    *(torch.zeros(9, dtype=dtype) for dtype in (torch.bfloat16, torch.float16, torch.int64, torch.bool)),
    *(torch.zeros(9, dtype=torch.float8_e5m2), torch.zeros(9).to_sparse(), torch.zeros(9, device="meta")),
    *(torch.zeros(9, requires_grad=True), [1.0] * 9, [10**400] * 9, [], [[]], [None], [[1.0], [2.0, 3.0]]),
    *("poison", b"poison", None, 3, np.nan, {"w": 1}, Unspeakable(), [Unspeakable()], object),
]
arrays = st.sampled_from(ARRAYS)
names = st.one_of(st.sampled_from(["weight", "bias"]), st.text(max_size=9), st.integers(), st.none())
contents = st.one_of(
    arrays,
    st.dictionaries(names, arrays, max_size=3),
    st.fixed_dictionaries({"weight": arrays, "bias": arrays}),
    st.just(Lying()),
    st.just({"weight": np.zeros((3, 2)), "bias": np.zeros(3), "\x1b[2J" * 99: np.zeros(1)}),
)
ids = st.sampled_from([0, 1, "0", "1", "eve", ("a", 1), None, np.int64(1)])


def honest(node: Any, move: float) -> Upload:
    return Upload(node, {name: array - np.float32(move) for name, array in MODEL.items()})


@settings(max_examples=150)
@given(st.lists(st.tuples(ids, contents), max_size=5))
def test_a_server_survives_whatever_its_nodes_send(hostile: list[tuple[Any, Any]]) -> None:
    keeper = Keeper(
        Rules(defense=sf.SparseFed(k=4, momentum=0.9), clip=sf.FixedClip(norm=1.0), least=3), MODEL
    )
    sent = [honest("ann", 0.1), honest("bob", 0.2), *(Upload(*each) for each in hostile)]
    before = keeper.state
    report = keeper.step(sent)
    lines = [str(node) for node in report.nodes]
    assert len(lines) == len(sent)
    assert all(line.isprintable() and len(line) < 300 for line in lines), lines
    assert [node.problem for node in report.nodes[:2]] == ["", ""]
    used = [str(node.client) for node in report.nodes if not node.problem]
    assert len(used) == len(set(used))
    assert bool(report.skipped) == (len(used) < 3)
    if report.skipped:
        assert keeper.state == before._replace(round=1)
    assert bool(keeper.state.params.isfinite().all())


@settings(max_examples=150)
@given(st.lists(st.tuples(ids, arrays, st.sampled_from([1, 0, -1, np.nan, "1", None, 10**400])), max_size=5))
def test_a_loop_of_your_own_survives_whatever_its_clients_send(hostile: list[tuple[Any, Any, Any]]) -> None:
    rows = np.eye(2, 9)
    clients, sent, claims = ["ann", "bob"], list(rows), [2, 1]
    for client, update, claim in hostile:
        clients, sent, claims = [*clients, client], [*sent, update], [*claims, claim]
    for updates in (
        sf.dense(sent, weights=claims, clients=clients, like=np.zeros(9)).admitted(1.0),
        sf.dense(sent, weights=claims, clients=clients, size=9).admitted(1.0),
    ):
        report = updates.report()
        assert len(report) == len(sent)
        assert [line.problem for line in report[:2]] == ["", ""]
        assert np.allclose(updates.rows()[:2].numpy(), rows)
        assert all(str(line).isprintable() for line in report)
        rule = sf.Mean()
        delta, _ = rule.step(updates, rule.init(torch.zeros(9, dtype=torch.float64)))
        assert bool(delta.isfinite().all())
        assert float(delta.norm()) <= 1 + 1e-6


@pytest.mark.parametrize(
    "content", [None, 3, [], "", "no reply", {}, Lying(), {"weight": None, "bias": None}]
)
def test_a_node_without_arrays_is_named_and_left_out(content: Any) -> None:
    keeper = Keeper(Rules(defense=sf.Mean(), clip=sf.Unclipped()), MODEL)
    report = keeper.step([honest("ann", 0.1), Upload("eve", content)])
    assert report.nodes[1].problem
    assert not report.skipped
    torch.testing.assert_close(keeper.state.params, torch.full((9,), 0.9))


def test_a_node_counts_once_however_often_it_sends() -> None:
    keeper = Keeper(Rules(defense=sf.Mean(), clip=sf.Unclipped()), MODEL)
    report = keeper.step([honest(1, 0.1), honest("1", 9.0), honest(1, 9.0), honest(2, 0.3)])
    assert [node.problem for node in report.nodes[1:3]] == [
        "expected one update per client, found another from 1"
    ] * 2
    torch.testing.assert_close(keeper.state.params, torch.full((9,), 0.8))


def test_uploads_that_are_none_are_the_servers_own_mistake() -> None:
    keeper = Keeper(Rules(defense=sf.Mean(), clip=sf.Unclipped()), MODEL)
    before = keeper.state
    for uploads in (None, 3, "ann", honest("ann", 0.1)):
        with pytest.raises(sf.UpdateError, match="expected a list of `Upload`, found "):
            keeper.step(uploads)  # pyright: ignore
    with pytest.raises(sf.UpdateError, match="upload 1: expected an `Upload`, found nothing"):
        keeper.step([honest("ann", 0.1), None])  # pyright: ignore
    with pytest.raises(sf.UpdateError, match="upload 0: expected an `Upload`, found a tuple"):
        keeper.step([("ann", MODEL)])  # pyright: ignore
    assert keeper.state is before

"""The seam: every kind of updates answers alike."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

import sparsefed as sf
from sparsefed.clients import LocalData, Work
from sparsefed.clients.loop import Loop
from sparsefed.protocol.joined import Joined
from sparsefed.protocol.lazy import Lazy
from sparsefed.protocol.updates import Dense, Updates

MATRICES = st.tuples(st.integers(1, 8), st.integers(1, 12), st.integers(0, 2**31))


def matrix_of(shape: tuple[int, int, int]) -> torch.Tensor:
    clients, params, seed = shape
    return torch.randn(clients, params, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def as_lazy(matrix: torch.Tensor) -> Lazy:
    """The matrix behind a source that serves it row by row."""
    network = type("Net", (), {"size": matrix.shape[1], "is_random": False})()
    data = LocalData(np.arange(len(matrix)), matrix, matrix, np.ones(len(matrix), int))
    work = Work(network, matrix[0], data, 1.0, 0, 1)
    return Lazy(Loop(work, lambda work, position, examples: matrix[position]))


def kinds(matrix: torch.Tensor) -> list[Updates]:
    half = len(matrix) // 2
    return [Dense(matrix), as_lazy(matrix), Joined(Dense(matrix[:half]), Dense(matrix[half:]))]


@given(MATRICES, st.floats(0.1, 10))
def test_every_kind_gives_the_same_norms_sums_and_rows(shape: tuple[int, int, int], clip_norm: float):
    matrix = matrix_of(shape)
    lengths = matrix.norm(dim=1, keepdim=True)
    clipped = matrix * (clip_norm / lengths).clamp(max=1)
    for updates in kinds(matrix):
        admitted = updates.admitted(clip_norm)
        assert torch.allclose(admitted.rows(), clipped)
        assert torch.allclose(admitted.sum(), clipped.sum(0))
        assert torch.allclose(admitted.mean(), clipped.mean(0))
        assert torch.allclose(admitted.norms(), clipped.norm(dim=1))
        assert torch.allclose(admitted.gram(), clipped @ clipped.T)
        weights = torch.arange(len(matrix), dtype=torch.float64)
        assert torch.allclose(admitted.weighted_sum(weights), weights @ clipped)


@given(MATRICES, st.floats(0.1, 10))
def test_no_admitted_update_is_longer_than_the_clip(shape: tuple[int, int, int], clip_norm: float):
    for updates in kinds(100 * matrix_of(shape)):
        assert float(updates.admitted(clip_norm).rows().norm(dim=1).max()) <= clip_norm * (1 + 1e-12)


@given(MATRICES, st.sampled_from([math.nan, math.inf, -math.inf]), st.integers(0, 7))
def test_an_update_that_is_not_finite_is_left_out(shape: tuple[int, int, int], bad: float, where: int):
    matrix = matrix_of(shape)
    where %= len(matrix)
    matrix[where, -1] = bad
    sound = torch.cat([matrix[:where], matrix[where + 1 :]])
    for updates in kinds(matrix):
        admitted = updates.admitted(1.0)
        assert admitted.count == len(sound)
        assert torch.allclose(admitted.rows(), sf.dense(sound).admitted(1.0).rows())


@given(MATRICES)
def test_clipping_twice_is_clipping_to_the_smaller(shape: tuple[int, int, int]):
    for updates in kinds(matrix_of(shape)):
        twice = updates.admitted(2.0).admitted(0.5)
        assert torch.allclose(twice.rows(), updates.admitted(0.5).rows())


def test_one_row_repeated_is_summed_without_copies():
    row = torch.randn(1, 5, dtype=torch.float64)
    repeated, copied = Dense(row.expand(7, -1)), Dense(row.repeat(7, 1))
    assert torch.allclose(repeated.sum(), copied.sum())
    assert torch.equal(repeated.norms(), copied.norms())
    assert repeated.admitted(0.1).matrix.data_ptr() == row.data_ptr()


def test_dense_takes_arrays_and_tensors_alike():
    matrix = np.random.default_rng(0).normal(size=(3, 4))
    assert torch.equal(sf.dense(matrix).rows(), sf.dense(torch.from_numpy(matrix)).rows())


@pytest.mark.parametrize(
    "wrong", [np.zeros(3), np.zeros((2, 2), int), torch.zeros(1, 2, 3), "abc", None, [None]]
)
def test_what_is_no_matrix_of_numbers_is_refused(wrong: object):
    with pytest.raises(sf.UpdateError, match=r"expected (a matrix of )?float"):
        sf.dense(wrong)  # pyright: ignore[reportArgumentType]


def test_the_mean_of_nobody_is_an_error():
    with pytest.raises(sf.UpdateError, match="at least 1 update to average, found 0"):
        sf.dense(torch.zeros(0, 3)).mean()


def test_groups_of_different_length_cannot_be_joined():
    with pytest.raises(sf.UpdateError, match="expected updates of 2 parameters to join, found 3"):
        Joined(sf.dense(torch.zeros(1, 2)), sf.dense(torch.zeros(1, 3)))


@pytest.mark.parametrize("clip_norm", [math.nan, -1.0, 0.0, -math.inf])
def test_a_clip_that_is_no_length_is_refused(clip_norm: float):
    for updates in kinds(torch.ones(4, 3)):
        with pytest.raises(sf.UpdateError, match=f"expected a clip norm above 0, .* found {clip_norm}"):
            updates.admitted(clip_norm)


@pytest.mark.parametrize(
    ("clip_norm", "found"),
    [
        (sf.QuantileClip(), "found QuantileClip.*; `sparsefed.server.Keeper` takes a clip"),
        ("1.0", "found '1.0'"),
        (None, "found None"),
        (torch.ones(2), "found tensor"),
        (np.ones(2), "found array"),
    ],
    ids=str,
)
def test_a_clip_that_is_no_number_is_refused_in_one_line(clip_norm: Any, found: str):
    for updates in kinds(torch.ones(4, 3)):
        with pytest.raises(sf.UpdateError, match=f"expected a clip norm above 0, .* {found}"):
            updates.admitted(clip_norm)


def test_every_kind_shortens_what_single_precision_cannot_square():
    matrix = torch.ones(4, 50)
    matrix[1], matrix[2] = 1e30, torch.finfo(torch.float32).max
    for updates in kinds(matrix):
        admitted = updates.admitted(2.0)
        assert admitted.count == 4
        assert torch.allclose(admitted.norms(), torch.full((4,), 2.0, dtype=torch.float64))
        assert torch.allclose(admitted.rows(), torch.full((4, 50), 2 / 50**0.5))
        assert updates.norms().isfinite().all()
        assert updates.mean().isfinite().all()


def test_a_size_that_is_not_the_models_is_refused() -> None:
    with pytest.raises(sf.UpdateError, match="`size`: expected the 3 parameters of `like`, or none, found 4"):
        sf.dense(np.zeros((2, 3)), size=4, like=np.zeros(3))

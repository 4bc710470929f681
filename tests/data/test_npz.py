"""A user's own arrays: every form that is accepted, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sparsefed.core.errors import DataError
from sparsefed.data import Npz

GREY = np.arange(3 * 4 * 4, dtype=np.uint8).reshape(3, 4, 4)
LABELS = np.array([0, 1, 2])


def saved(path: Path, x: np.ndarray, y: np.ndarray, **more: np.ndarray) -> Path:
    np.savez(path / "own.npz", x_train=x, y_train=y, x_test=x[:2], y_test=y[:2], **more)
    return path / "own.npz"


@pytest.mark.parametrize(
    ("x", "shape", "dtype"),
    [
        (GREY, (1, 4, 4), torch.uint8),
        (np.stack([GREY] * 3, 1), (3, 4, 4), torch.uint8),
        (np.ones((3, 5)), (5,), torch.float32),
        (np.ones((3, 2, 4, 4), np.float16), (2, 4, 4), torch.float32),
        (np.ones((3, 64, 3, 3)), (64, 3, 3), torch.float32),
    ],
)
def test_images_and_features_are_taken(
    tmp_path: Path, x: np.ndarray, shape: tuple[int, ...], dtype: torch.dtype
):
    data = Npz(path=saved(tmp_path, x, LABELS.astype(np.uint8))).load()
    assert data.input_shape == shape
    assert data.train.x.dtype == dtype
    assert data.train.y.dtype == torch.int64
    assert data.classes == 3
    assert np.array_equal(data.train.x.numpy().reshape(x.shape), x)


def test_tokens_are_taken_with_their_next_tokens(tmp_path: Path):
    x = np.array([[1, 2], [3, 0], [0, 0]])
    data = Npz(path=saved(tmp_path, x, np.array([[2, 7], [0, -100], [0, 0]]))).load()
    assert data.classes == 8
    assert data.train.y[1, 1] == -100


def test_users_are_counted_from_zero(tmp_path: Path):
    data = Npz(path=saved(tmp_path, GREY, LABELS, users=np.array([40, 7, 40]))).load()
    assert data.train.users is not None
    assert data.train.users.tolist() == [1, 0, 1]
    assert data.test.users is None


@pytest.mark.parametrize(
    ("x", "y", "complaint"),
    [
        (GREY, LABELS[:2], "2 labels"),
        (GREY, LABELS - 1, "labels from -1 to 1"),
        (GREY, LABELS / 2, "`y` is float64 of shape .3,., need integers"),
        (GREY, np.stack([LABELS, LABELS], 1), "need one class per example"),
        (GREY[0, 0], LABELS, "`x` is uint8 of shape .4,., need uint8 images"),
        (np.array([["a"], ["b"], ["c"]]), LABELS, "`x` is <U1"),
        (np.array([[0.0], [1.0], [np.inf]]), LABELS, "1 features are NaN or infinite"),
        (np.array([[1, 2], [3, 4], [5, 6]]), LABELS, "need the next token of each"),
        (np.array([[1], [-3], [5]]), LABELS[:, None], "token -3, need 0 or more"),
        (np.array([[0.0], [1e300], [1.0]]), LABELS, "1 features are NaN or infinite as float32"),
        (np.zeros((3, 0)), LABELS, "examples of shape .0. are empty"),
        (GREY, LABELS * 10**10, "classes of 5 examples with ids from 0 to 20000000000, need .* below 50"),
        (GREY, LABELS * 25, "classes of 5 examples with ids from 0 to 50, need ids counted from 0"),
        (np.array([[1], [10**7], [5]]), LABELS[:, None], "tokens with ids from 0 to 10000000, need .* below"),
        (np.ones((3, 28, 28, 1)), LABELS, r"looks like images .n, h, w, c., need .* `x.transpose"),
        (np.ones((3, 8, 9, 3), np.uint8), LABELS, r"looks like images .n, h, w, c."),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path: Path, x: np.ndarray, y: np.ndarray, complaint: str):
    with pytest.raises(DataError, match=rf"own.npz.*{complaint}"):
        Npz(path=saved(tmp_path, x, y)).load()


def test_users_of_another_number_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="3 examples, 3 labels, 2 users"):
        Npz(path=saved(tmp_path, GREY, LABELS, users=np.array([0, 1]))).load()


def test_more_than_one_user_of_an_example_is_refused(tmp_path: Path):
    with pytest.raises(
        DataError, match=r"own.npz: `users` is int64 of shape \(3, 2\), need integers with 1 axes"
    ):
        Npz(path=saved(tmp_path, GREY, LABELS, users=np.zeros((3, 2), int))).load()


def test_bytes_to_train_and_floats_to_test_are_refused(tmp_path: Path):
    path = tmp_path / "own.npz"
    np.savez(path, x_train=GREY[:, None], y_train=LABELS, x_test=GREY[:, None] / 255, y_test=LABELS)
    with pytest.raises(DataError, match="one kind are needed, found train bytes and test floats"):
        Npz(path=path).load()


def test_pickled_objects_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"own.npz: damaged or not a plain .npz .Object arrays"):
        Npz(path=saved(tmp_path, GREY, LABELS, users=np.array([{}, {}, {}], dtype=object))).load()


def test_a_missing_array_is_named(tmp_path: Path):
    np.savez(tmp_path / "a.npz", x_train=GREY, y_train=LABELS)
    with pytest.raises(DataError, match=r"a.npz: no array `x_test`, found x_train, y_train"):
        Npz(path=tmp_path / "a.npz").load()


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"none.npz: no such file"):
        Npz(path=tmp_path / "none.npz").load()


def test_a_single_array_is_refused(tmp_path: Path):
    np.save(tmp_path / "a.npy", GREY)
    with pytest.raises(DataError, match=r"a.npy: no array `x_train`, found a single array"):
        Npz(path=tmp_path / "a.npy").load()


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:-30],
        lambda raw: b"",
        lambda raw: b"hello",
        lambda raw: raw[:200] + b"\x01" + raw[201:],
    ],
)
def test_a_damaged_archive_is_named(tmp_path: Path, damage):
    path = saved(tmp_path, GREY, LABELS)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"own.npz: damaged or not a plain .npz"):
        Npz(path=path).load()

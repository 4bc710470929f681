"""A user's own arrays: every form that is accepted, and what is refused."""

from pathlib import Path
from typing import Any

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


AS_STORED = {
    "big-endian floats": lambda x: x.astype(">f8"),
    "half precision": lambda x: x.astype(np.float16),
    "long double": lambda x: x.astype(np.longdouble),
    "column order": np.asfortranarray,
    "every other column": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "big-endian integers": lambda x: x.astype(">i4"),
    "unsigned": lambda x: x.astype(np.uint16),
    "records": lambda x: np.rec.fromarrays(x.T),
}


@pytest.mark.parametrize("stored", AS_STORED)
def test_a_table_is_the_same_however_its_numbers_are_stored(tmp_path: Path, stored: str):
    x = np.arange(15.0).reshape(3, 5)
    data = Npz(path=saved(tmp_path, AS_STORED[stored](x), LABELS)).load()
    assert data.train.x.dtype == torch.float32
    assert np.array_equal(data.train.x.numpy(), x)


@pytest.mark.parametrize("dtype", [np.int8, np.int64, ">u2", np.uint8])
def test_images_of_any_integers_from_0_to_255_are_bytes(tmp_path: Path, dtype: Any):
    data = Npz(path=saved(tmp_path, GREY.astype(dtype), LABELS)).load()
    assert data.train.x.dtype == torch.uint8
    assert np.array_equal(data.train.x[:, 0].numpy(), GREY)


@pytest.mark.parametrize(
    ("labels", "called"),
    [
        (LABELS + 1, ("1", "2", "3")),
        (LABELS * 25 - 7, ("-7", "18", "43")),
        (np.array(["cat", "dog", "cow"]), ("cat", "cow", "dog")),
        (LABELS.astype(float), None),
        (LABELS[:, None], None),
        (LABELS > 1, None),
        (LABELS.astype(">i8"), None),
    ],
)
def test_labels_are_numbered_from_0_and_called_what_the_data_call_them(
    tmp_path: Path, labels: np.ndarray, called: tuple[str, ...] | None
):
    data = Npz(path=saved(tmp_path, GREY, labels)).load()
    assert data.labels == called
    assert data.classes == len(np.unique(labels))
    assert np.array_equal(np.unique(labels)[data.train.y.numpy()], labels.reshape(-1))
    assert torch.equal(data.test.y, data.train.y[:2])


def test_a_label_without_a_training_example_is_refused(tmp_path: Path):
    np.savez(tmp_path / "own.npz", x_train=GREY, y_train=LABELS, x_test=GREY, y_test=LABELS + 1)
    with pytest.raises(DataError, match=r"expected test labels among the 3 labels .* found 3"):
        Npz(path=tmp_path / "own.npz").load()


def test_token_sequences_with_one_label_each_are_taken_with_their_vocabulary(tmp_path: Path):
    x, words = np.array([[1, 2], [3, 0], [0, 0]]), np.array(["a", "b", "c", "d"])
    data = Npz(path=saved(tmp_path, x, LABELS, vocabulary=words)).load()
    assert data.train.x.dtype == torch.int64
    assert data.vocabulary == ("a", "b", "c", "d")
    assert data.classes == 3
    with pytest.raises(DataError, match="expected tokens below 2, the size of `vocabulary`, found 3"):
        Npz(path=saved(tmp_path, x, LABELS, vocabulary=words[:2])).load()


def test_a_csv_is_told_how_to_be_read(tmp_path: Path):
    (tmp_path / "own.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r'expected an .npz archive; .* type = "Csv"'):
        Npz(path=tmp_path / "own.csv").load()


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
        (GREY, LABELS / 2, "expected one whole number or name per example, found `y` of float64"),
        (GREY, np.stack([LABELS, LABELS], 1), "expected one label per example .*found `y` of int64"),
        (GREY, np.array(["1", "2", "3"], "S1").astype("M8[Y]"), "found `y` of datetime64"),
        (GREY[0, 0], LABELS, "expected numbers: images .* found `x` of uint8 and shape .4,."),
        (np.array([["a"], ["b"], ["c"]]), LABELS, "expected numbers: .* found `x` of <U1"),
        (GREY.astype(int) * 9, LABELS, "expected images as bytes, 0 to 255, .* found int64 from 0 to 423"),
        (GREY.astype(np.int8) - 1, LABELS, "found int8 from -1 to 46"),
        (np.array([[0.0], [1.0], [np.inf]]), LABELS, "found 1 that are NaN or infinite"),
        (np.array([[1, 1], [-3, 1], [5, 1]]), GREY[0, :3, :2], "expected tokens from 0 .* found -3 to 5"),
        (np.array([[0.0], [1e300], [1.0]]), LABELS, "found 1 that are NaN or infinite as float32"),
        (np.zeros((3, 0)), LABELS, "found empty examples of shape .0."),
        (np.array([[1, 1], [10**7, 1], [5, 1]]), GREY[0, :3, :2], "expected tokens .* found 1 to 10000000"),
        (np.ones((3, 28, 28, 1)), LABELS, r"expected the channels first, .*`x.transpose"),
        (np.ones((3, 8, 9, 3), np.uint8), LABELS, r"expected the channels first"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path: Path, x: np.ndarray, y: np.ndarray, complaint: str):
    with pytest.raises(DataError, match=rf"own.npz.*{complaint}"):
        Npz(path=saved(tmp_path, x, y)).load()


def test_users_of_another_number_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="3 examples, 3 labels, 2 users"):
        Npz(path=saved(tmp_path, GREY, LABELS, users=np.array([0, 1]))).load()


def test_more_than_one_user_of_an_example_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"own.npz: expected one user per example, found `users` of int64"):
        Npz(path=saved(tmp_path, GREY, LABELS, users=np.zeros((3, 2), int))).load()


def test_bytes_to_train_and_floats_to_test_are_refused(tmp_path: Path):
    path = tmp_path / "own.npz"
    np.savez(path, x_train=GREY[:, None], y_train=LABELS, x_test=GREY[:, None] / 255, y_test=LABELS)
    with pytest.raises(DataError, match="expected examples of one kind, found train bytes and test floats"):
        Npz(path=path).load()


def test_pickled_objects_are_refused(tmp_path: Path):
    with pytest.raises(
        DataError, match=r"own.npz: expected arrays of numbers or names, found Python objects"
    ):
        Npz(path=saved(tmp_path, GREY, LABELS, users=np.array([{}, {}, {}], dtype=object))).load()


def test_a_missing_array_is_named(tmp_path: Path):
    np.savez(tmp_path / "a.npz", x_train=GREY, y_train=LABELS)
    with pytest.raises(DataError, match=r"a.npz: expected an array `x_test`, found x_train, y_train"):
        Npz(path=tmp_path / "a.npz").load()


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"none.npz: no such file"):
        Npz(path=tmp_path / "none.npz").load()


def test_a_single_array_is_refused(tmp_path: Path):
    np.save(tmp_path / "a.npy", GREY)
    with pytest.raises(DataError, match=r"a.npy: expected an array `x_train`, found a single array"):
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
    with pytest.raises(DataError, match=r"own.npz: expected a plain .npz, found another or a damaged file"):
        Npz(path=path).load()

"""MNIST's family: files of the true format that the test writes, damaged ones, and the real ones."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from sparsefed.core.errors import DataError
from sparsefed.data import MNIST, QMNIST, FashionMNIST
from sparsefed.data.formats.idx import read_idx

IMAGES, LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"


def idx(array: np.ndarray) -> bytes:
    code = {"uint8": 0x08, "int32": 0x0C, "float32": 0x0D}[array.dtype.name]
    header = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write(path: Path, array: np.ndarray) -> None:
    path.write_bytes(gzip.compress(idx(array)) if path.suffix == ".gz" else idx(array))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    for part, n in (("train", 20), ("t10k", 10)):
        write(tmp_path / f"{part}-{IMAGES}.gz", draw.integers(0, 256, (n, 28, 28), np.uint8))
        write(tmp_path / f"{part}-{LABELS}", np.arange(n, dtype=np.uint8) % 10)
    return tmp_path


@pytest.mark.parametrize("kind", [MNIST, FashionMNIST])
def test_gzipped_and_plain_files_are_read_alike(folder: Path, kind: type[MNIST]):
    data = kind(folder=folder).load()
    images = read_idx(folder / f"train-{IMAGES}.gz", ">u1", ndim=3)
    assert torch.equal(data.train.x, torch.from_numpy(images)[:, None])
    assert data.train.y.tolist() == [i % 10 for i in range(20)]
    assert data.input_shape == (1, 28, 28)
    assert len(data.test.y) == 10
    assert torch.equal(data.inputs(data.train.x), data.train.x / 255)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
def test_every_type_comes_back_as_written(tmp_path: Path, dtype: str):
    array = (np.arange(24).reshape(2, 3, 4) * 10).astype(dtype)
    write(tmp_path / "a", array)
    code = array.dtype.newbyteorder(">").str.replace("|", ">")
    read = read_idx(tmp_path / "a", code, ndim=3)
    assert np.array_equal(read, array)
    assert read.dtype == array.dtype


def test_a_label_file_in_place_of_an_image_file_is_named(folder: Path):
    write(folder / f"train-{IMAGES}.gz", np.zeros(5, np.uint8))
    with pytest.raises(
        DataError, match=rf"train-{IMAGES}.gz: expected magic number 00000803, found 00000801"
    ):
        MNIST(folder=folder).load()


def test_a_file_of_the_wrong_length_is_named(folder: Path):
    path = folder / f"t10k-{LABELS}"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=rf"t10k-{LABELS}: expected 18 bytes for 10 values, found 17"):
        MNIST(folder=folder).load()


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda raw: raw[:-20], "expected a whole gzip stream, found one without an end"),
        (lambda raw: raw[:100] + bytes(200) + raw[300:], "expected .*, found a damaged gzip stream"),
        (
            lambda raw: raw[:-8] + bytes(4) + raw[-4:],
            "expected .*, found a damaged gzip stream .CRC check failed",
        ),
        (lambda raw: b"not gzip at all", "expected .*, found a damaged gzip stream"),
        (lambda raw: b"", "expected magic number 00000803, found none"),
    ],
)
def test_a_damaged_archive_is_named(folder: Path, damage, complaint: str):
    path = folder / f"train-{IMAGES}.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=f"train-{IMAGES}.gz: {complaint}"):
        MNIST(folder=folder).load()


def test_a_header_cut_short_is_named(folder: Path):
    (folder / f"train-{LABELS}").write_bytes(bytes((0, 0, 8, 1, 0)))
    with pytest.raises(DataError, match="expected a header of 8 bytes, found 5"):
        MNIST(folder=folder).load()


def test_a_label_out_of_range_is_named(folder: Path):
    write(folder / f"train-{LABELS}", np.full(20, 10, np.uint8))
    with pytest.raises(DataError, match=rf"train-{LABELS}: expected labels from 0 to 9, found 10"):
        MNIST(folder=folder).load()


def test_fewer_labels_than_images_are_named(folder: Path):
    write(folder / f"train-{LABELS}", np.zeros(19, np.uint8))
    with pytest.raises(DataError, match=rf"{LABELS}: expected 20 labels, one for each image of .*, found 19"):
        MNIST(folder=folder).load()


def test_images_of_two_sizes_are_refused(folder: Path):
    write(folder / f"t10k-{IMAGES}.gz", np.zeros((10, 27, 28), np.uint8))
    with pytest.raises(DataError, match="one shape"):
        MNIST(folder=folder).load()


@pytest.mark.parametrize(("kind", "name"), [(MNIST, "mnist"), (FashionMNIST, "fashion-mnist")])
def test_a_missing_file_is_named_with_the_place_and_the_command(folder: Path, kind: type[MNIST], name: str):
    (folder / f"t10k-{IMAGES}.gz").unlink()
    with pytest.raises(DataError) as caught:
        kind(folder=folder).load()
    message = str(caught.value)
    assert str(folder) in message
    assert f"t10k-{IMAGES}" in message
    assert f"sparsefed data fetch {name}" in message
    assert "train-" not in message
    assert "\n" not in message


def test_without_any_folder_both_places_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "given").mkdir()
    monkeypatch.setenv("SPARSEFED_DATA", str(tmp_path / "given"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(
        DataError, match=r"expected train-images.* in .*given/mnist or .*cache.*mnist.*fetch mnist"
    ):
        MNIST().load()


def test_the_given_folder_is_found_by_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / "mnist").mkdir()
    for path in folder.glob("*ubyte*"):
        path.rename(folder / "mnist" / path.name)
    monkeypatch.setenv("SPARSEFED_DATA", str(folder))
    assert len(MNIST().load().train.y) == 20


def writers(labels: np.ndarray) -> np.ndarray:
    table = np.zeros((len(labels), 8), np.int32)
    table[:, 0], table[:, 2] = labels, 2000 + 7 * (np.arange(len(labels)) % 3)
    return table


def test_qmnist_gives_each_training_digit_its_writer(folder: Path):
    write(folder / "qmnist-train-labels-idx2-int.gz", writers(np.arange(20) % 10))
    data = QMNIST(folder=folder, images=MNIST(folder=folder)).load()
    assert data.train.users is not None
    assert data.train.users.tolist() == [i % 3 for i in range(20)]
    assert data.train.users.dtype == np.int32
    assert data.test.users is None


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        (writers(np.arange(19) % 10), "expected 20 of 8, one for each digit, found 19 rows of 8 columns"),
        (writers(np.arange(20) % 10)[:, :3], "20 rows of 3 columns"),
        (writers((np.arange(20) + (np.arange(20) < 2)) % 10), "found 2 that differ"),
    ],
)
def test_qmnist_labels_of_other_images_are_refused(folder: Path, table: np.ndarray, complaint: str):
    write(folder / "qmnist-train-labels-idx2-int", np.ascontiguousarray(table))
    with pytest.raises(DataError, match=complaint):
        QMNIST(folder=folder, images=MNIST(folder=folder)).load()


def test_the_real_writers_are_539(shared_data: Path):
    data = QMNIST(folder=shared_data / "qmnist", images=MNIST(folder=shared_data / "mnist")).load()
    assert data.train.users is not None
    digits = np.bincount(data.train.users)
    assert len(digits) == 539
    assert (round(digits.mean()), round(digits.std())) == (111, 16)
    assert (len(data.train.y), len(data.test.y)) == (60_000, 10_000)
    assert torch.bincount(data.train.y).tolist()[:3] == [5923, 6742, 5958]

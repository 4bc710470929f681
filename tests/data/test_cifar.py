"""CIFAR from official batches and their archive: as published, damaged, and malicious."""

import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from published import number, official, short

from sparsefed.core.errors import DataError
from sparsefed.data import CIFAR10, CIFAR100
from sparsefed.data.formats.unpickle import unpickled

BATCHES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


def pictures(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 3072), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inner = tmp_path / "data" / "cifar-10-batches-py"
    inner.mkdir(parents=True)
    for seed, name in enumerate(BATCHES):
        (inner / name).write_bytes(official(pictures(4, seed), [seed, 1, 2, 9]))
    return tmp_path / "data"


def test_official_batches_are_joined_in_order(folder: Path):
    data = CIFAR10(folder=folder).load()
    expected = np.concatenate([pictures(4, seed) for seed in range(5)]).reshape(-1, 3, 32, 32)
    assert torch.equal(data.train.x, torch.from_numpy(expected))
    assert data.train.y.tolist() == [label for seed in range(5) for label in (seed, 1, 2, 9)]
    assert torch.equal(data.test.x.flatten(1), torch.from_numpy(pictures(4, 5)))
    assert data.classes == 10


def test_the_folder_may_be_that_of_the_batches_itself(folder: Path):
    assert len(CIFAR10(folder=folder / "cifar-10-batches-py").load().train.y) == 20


def archived(folder: Path, names: list[str]) -> Path:
    path = folder.parent / "packed" / "cifar-10-python.tar.gz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            tar.add(folder / "cifar-10-batches-py" / name, f"cifar-10-batches-py/{name}")
    return path


def test_the_archive_is_read_like_its_files(folder: Path):
    packed = CIFAR10(folder=archived(folder, BATCHES).parent).load()
    loose = CIFAR10(folder=folder).load()
    assert torch.equal(packed.train.x, loose.train.x)
    assert torch.equal(packed.test.y, loose.test.y)


def test_an_incomplete_archive_is_named(folder: Path):
    path = archived(folder, BATCHES[:3])
    with pytest.raises(DataError, match=r"tar.gz: expected .*, found no cifar-10-batches-py/data_batch_4"):
        CIFAR10(folder=path.parent).load()


def test_a_truncated_archive_is_named(folder: Path):
    path = archived(folder, BATCHES)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(DataError, match=r"cifar-10-python.tar.gz: expected .*, found a damaged archive"):
        CIFAR10(folder=path.parent).load()


def test_fine_labels_are_those_of_cifar100(tmp_path: Path):
    for seed, name in enumerate(("train", "test")):
        (tmp_path / name).write_bytes(official(pictures(3, seed), [99, 0, 5], b"fine_labels"))
    data = CIFAR100(folder=tmp_path).load()
    assert data.train.y.tolist() == [99, 0, 5]
    assert data.classes == 100
    assert data.mean == (0.5071, 0.4867, 0.4408)


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_runs_code_is_refused_before_it_runs(folder: Path, protocol: int):
    trap = folder / "trap"
    bad = folder / "cifar-10-batches-py" / "data_batch_2"
    bad.write_bytes(pickle.dumps({"data": Malicious(trap)}, protocol))
    with pytest.raises(DataError, match=r"data_batch_2: .*found a call of `posix.mkdir`; nothing was run"):
        CIFAR10(folder=folder).load()
    assert not trap.exists()


@pytest.mark.parametrize(
    "stolen",
    [b"cbuiltins\neval\n", b"c__builtin__\neval\n", b"cnumpy\nload\n", b"cnumpy.core.multiarray\nfromfile\n"],
)
def test_no_other_name_can_be_reached(stolen: bytes):
    with pytest.raises(DataError, match="found a call of"):
        unpickled(b"\x80\x02" + stolen + short(b"1+1") + b"\x85R.", Path("batch"))


def test_arrays_of_objects_are_refused():
    raw = b"\x80\x02cnumpy\ndtype\n" + short(b"O8") + b"K\x00K\x01\x87R."
    with pytest.raises(DataError, match=r"found a call of `numpy.dtype"):
        unpickled(raw, Path("batch"))


def test_the_array_class_itself_cannot_be_called():
    raw = b"\x80\x02cnumpy\nndarray\n" + number(10**9) + b"\x85\x85R."
    with pytest.raises(DataError, match=r"batch: expected .*, found a damaged pickle"):
        unpickled(raw, Path("batch"))


@pytest.mark.parametrize("keep", [0, 1, 50, 3000, -1])
def test_a_truncated_batch_is_named(folder: Path, keep: int):
    path = folder / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"data_batch_3: expected .*, found a damaged pickle"):
        CIFAR10(folder=folder).load()


@pytest.mark.parametrize(
    ("batch", "complaint"),
    [
        (official(pictures(4, 0), [1, 2, 3]), "expected 4 labels, one for each image, found 3"),
        (official(pictures(4, 0), [1, 2, 3, 10]), "expected labels from 0 to 9, found 10"),
        (
            official(pictures(4, 0)[:, :3000].copy(), [1, 2, 3, 4]),
            "expected 3072 bytes per image, found 3000",
        ),
        (
            official(pictures(4, 0), [1, 2, 3, 4], b"fine_labels"),
            "expected `labels` to be a list of integers, found missing",
        ),
        (pickle.dumps({b"data": [1]}, 3), "expected `data` to be a uint8 array of two axes, found a list"),
        (pickle.dumps([1, 2], 2), "expected a pickled dictionary, found a list"),
    ],
)
def test_a_batch_of_another_shape_is_named(folder: Path, batch: bytes, complaint: str):
    (folder / "cifar-10-batches-py" / "test_batch").write_bytes(batch)
    with pytest.raises(DataError, match=f"test_batch: {complaint}"):
        CIFAR10(folder=folder).load()


def test_a_missing_batch_is_named(folder: Path):
    (folder / "cifar-10-batches-py" / "data_batch_5").unlink()
    with pytest.raises(DataError, match=r"data_batch_5: cannot be read"):
        CIFAR10(folder=folder).load()


def test_a_folder_without_cifar_says_what_to_put_there(tmp_path: Path):
    (tmp_path / "other.txt").write_text("x")
    with pytest.raises(
        DataError, match=r"expected cifar-10-batches-py/, cifar-10-python.tar.gz.*fetch cifar10"
    ):
        CIFAR10(folder=tmp_path).load()

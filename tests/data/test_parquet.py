"""CIFAR from Parquet as the Hugging Face hub has it: shards, damaged files, and the copy of the pixels."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from sparsefed.core.errors import DataError
from sparsefed.data import CIFAR10, CIFAR100


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def encoded(pixels: np.ndarray, form: str = "PNG", mode: str | None = None) -> bytes:
    buffer = io.BytesIO()
    picture = Image.fromarray(pixels)
    (picture if mode is None else picture.convert(mode)).save(buffer, form)
    return buffer.getvalue()


def write_parquet(path: Path, images: list[bytes], labels: list[int], image: str, label: str) -> None:
    column = pa.array(
        [{"bytes": data, "path": None} for data in images],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    path.parent.mkdir(exist_ok=True, parents=True)
    parquet.write_table(pa.table({image: column, label: pa.array(labels, pa.int64())}), path)


def square(n: int) -> list[np.ndarray]:
    return list(np.random.default_rng(n).integers(0, 256, (n, 32, 32, 3), np.uint8))


@pytest.mark.parametrize(
    ("kind", "image", "label"),
    [(CIFAR10, "img", "label"), (CIFAR10, "image", "label"), (CIFAR100, "img", "fine_label")],
)
def test_parquet_shards_are_joined_in_order(tmp_path: Path, kind: type[CIFAR10], image: str, label: str):
    shards = [square(3), square(2), square(4)]
    names = ["train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"]
    for name, shard in zip(names, shards, strict=True):
        write_parquet(
            tmp_path / "data" / f"{name}.parquet",
            [encoded(p) for p in shard],
            list(range(len(shard))),
            image,
            label,
        )
    data = kind(folder=tmp_path).load()
    expected = torch.from_numpy(np.stack(shards[0] + shards[1])).permute(0, 3, 1, 2)
    assert torch.equal(data.train.x, expected)
    assert data.train.y.tolist() == [0, 1, 2, 0, 1]
    assert len(data.test.y) == 4


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    for part in ("train", "test"):
        write_parquet(
            tmp_path / "hub" / f"{part}.parquet", [encoded(p) for p in square(3)], [0, 1, 2], "img", "label"
        )
    return tmp_path / "hub"


def test_decoded_pixels_are_kept_and_a_damaged_copy_is_not_trusted(hub: Path, own_cache: Path):
    first = CIFAR10(folder=hub).load()
    (copy,) = own_cache.rglob("*.npy")
    assert torch.equal(CIFAR10(folder=hub).load().train.x, first.train.x)
    copy.write_bytes(copy.read_bytes()[:-100])
    assert torch.equal(CIFAR10(folder=hub).load().train.x, first.train.x)
    assert not list(own_cache.rglob("*.part"))


def test_without_a_place_for_copies_reading_still_works(hub: Path, own_cache: Path):
    own_cache.write_text("a file where the folder would be")
    assert len(CIFAR10(folder=hub).load().train.y) == 3


def test_grey_and_palette_pictures_become_colour(hub: Path):
    images = [encoded(p, mode=mode) for p, mode in zip(square(3), ("L", "P", "RGB"), strict=True)]
    write_parquet(hub / "train.parquet", images, [0, 1, 2], "img", "label")
    assert CIFAR10(folder=hub).load().train.x.shape == (3, 3, 32, 32)


@pytest.mark.parametrize(
    ("picture", "complaint"),
    [
        (b"no picture", "row 1: expected a PNG or JPEG picture"),
        (b"", "row 1: expected a PNG or JPEG picture"),
        (None, "row 1: expected a PNG or JPEG picture"),
        (encoded(square(1)[0])[:-400], "row 1: expected a picture, found a damaged one"),
        (encoded(np.zeros((32, 31, 3), np.uint8)), r"row 1: expected .*, found \(32, 31, 3\)"),
    ],
)
def test_a_damaged_picture_is_named(hub: Path, picture: bytes, complaint: str):
    write_parquet(hub / "train.parquet", [encoded(square(1)[0]), picture], [0, 1], "img", "label")
    with pytest.raises(DataError, match=f"train.parquet: {complaint}"):
        CIFAR10(folder=hub).load()


def test_parquet_without_the_columns_is_named(hub: Path):
    parquet.write_table(pa.table({"a": [1], "label": [1]}), hub / "test.parquet")
    with pytest.raises(
        DataError, match=r"test.parquet: expected `img or image` and `label`, found columns a, label"
    ):
        CIFAR10(folder=hub).load()
    parquet.write_table(pa.table({"img": [1], "label": [1]}), hub / "test.parquet")
    with pytest.raises(
        DataError, match=r"test.parquet: expected pictures as a struct with `bytes`, found type int64"
    ):
        CIFAR10(folder=hub).load()


def test_a_truncated_parquet_file_is_named(hub: Path):
    path = hub / "train.parquet"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(DataError, match=r"train.parquet: expected a Parquet file, found a damaged one"):
        CIFAR10(folder=hub).load()


def test_a_label_out_of_range_in_parquet_is_named(hub: Path):
    write_parquet(hub / "test.parquet", [encoded(square(1)[0])], [-1], "img", "label")
    with pytest.raises(DataError, match=r"test.parquet: expected labels from 0 to 9, found -1"):
        CIFAR10(folder=hub).load()


def test_the_real_parquet_is_ten_classes_of_colour(shared_data: Path, tmp_path: Path):
    (tmp_path / "some").mkdir()
    for part in ("train", "test"):
        table = parquet.read_table(shared_data / "cifar10" / f"{part}-00000-of-00001.parquet")
        parquet.write_table(table.slice(0, 300), tmp_path / "some" / f"{part}.parquet")
    data = CIFAR10(folder=tmp_path / "some").load()
    assert data.train.y.unique().tolist() == list(range(10))
    inputs = data.inputs(data.train.x)
    assert inputs.mean(dim=(0, 2, 3)).abs().max() < 0.3
    assert (inputs.std(dim=(0, 2, 3)) - 1).abs().max() < 0.2

"""CIFAR from official batches, their archive and Parquet: as published, damaged, and malicious."""

import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from sparsefed.data import CIFAR10, CIFAR100
from sparsefed.data.unpickle import unpickled
from sparsefed.errors import DataError

BATCHES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def short(text: bytes) -> bytes:
    return b"U" + bytes([len(text)]) + text


def number(value: int) -> bytes:
    return b"J" + value.to_bytes(4, "little", signed=True)


def official(pixels: np.ndarray, labels: list[int], key: bytes = b"labels") -> bytes:
    """The batch as Python 2 and its NumPy pickled it, opcode by opcode."""
    rows, columns = pixels.shape
    raw = pixels.tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n"
        + b"cnumpy\nndarray\n" + b"K\x00\x85" + short(b"b") + b"\x87R"
        + b"(K\x01" + number(rows) + number(columns) + b"\x86"
        + b"cnumpy\ndtype\n" + short(b"u1") + b"K\x00K\x01\x87R"
        + b"(K\x03" + short(b"|") + b"NNN" + number(-1) + number(-1) + b"K\x00tb"
        + b"\x89T" + len(raw).to_bytes(4, "little") + raw + b"tb"
    )  # fmt: skip
    listed = b"](" + b"".join(number(label) for label in labels) + b"e"
    return b"\x80\x02}(" + short(b"data") + array + short(key) + listed + b"u."


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
    with pytest.raises(DataError, match=r"tar.gz: cifar-10-batches-py/data_batch_4 is not in it"):
        CIFAR10(folder=path.parent).load()


def test_a_truncated_archive_is_named(folder: Path):
    path = archived(folder, BATCHES)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(DataError, match=r"cifar-10-python.tar.gz: damaged archive"):
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
    with pytest.raises(DataError, match=r"data_batch_2: the pickle calls `posix.mkdir`.*nothing was run"):
        CIFAR10(folder=folder).load()
    assert not trap.exists()


@pytest.mark.parametrize(
    "stolen",
    [b"cbuiltins\neval\n", b"c__builtin__\neval\n", b"cnumpy\nload\n", b"cnumpy.core.multiarray\nfromfile\n"],
)
def test_no_other_name_can_be_reached(stolen: bytes):
    with pytest.raises(DataError, match="the pickle calls"):
        unpickled(b"\x80\x02" + stolen + short(b"1+1") + b"\x85R.", Path("batch"))


def test_arrays_of_objects_are_refused():
    raw = b"\x80\x02cnumpy\ndtype\n" + short(b"O8") + b"K\x00K\x01\x87R."
    with pytest.raises(DataError, match=r"the pickle calls `numpy.dtype"):
        unpickled(raw, Path("batch"))


def test_the_array_class_itself_cannot_be_called():
    raw = b"\x80\x02cnumpy\nndarray\n" + number(10**9) + b"\x85\x85R."
    with pytest.raises(DataError, match="batch: damaged pickle"):
        unpickled(raw, Path("batch"))


@pytest.mark.parametrize("keep", [0, 1, 50, 3000, -1])
def test_a_truncated_batch_is_named(folder: Path, keep: int):
    path = folder / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="data_batch_3: damaged pickle"):
        CIFAR10(folder=folder).load()


@pytest.mark.parametrize(
    ("batch", "complaint"),
    [
        (official(pictures(4, 0), [1, 2, 3]), "3 labels, need 4"),
        (official(pictures(4, 0), [1, 2, 3, 10]), "label 10, need 0 to 9"),
        (official(pictures(4, 0)[:, :3000].copy(), [1, 2, 3, 4]), "3000 bytes per image, need 3072"),
        (official(pictures(4, 0), [1, 2, 3, 4], b"fine_labels"), "`labels` is missing"),
        (pickle.dumps({b"data": [1]}, 3), "`data` is a list, need a uint8 array"),
        (pickle.dumps([1, 2], 2), "the pickle holds a list, need a dictionary"),
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
    with pytest.raises(DataError, match=r"need cifar-10-batches-py/, cifar-10-python.tar.gz.*fetch cifar10"):
        CIFAR10(folder=tmp_path).load()


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
    return list(pictures(n, n).reshape(n, 32, 32, 3))


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
        (b"no picture", "row 1: not a picture"),
        (b"", "row 1: not a picture"),
        (None, "row 1: not a picture"),
        (encoded(square(1)[0])[:-400], "row 1: damaged picture"),
        (encoded(np.zeros((32, 31, 3), np.uint8)), r"row 1: a picture of \(32, 31, 3\)"),
    ],
)
def test_a_damaged_picture_is_named(hub: Path, picture: bytes, complaint: str):
    write_parquet(hub / "train.parquet", [encoded(square(1)[0]), picture], [0, 1], "img", "label")
    with pytest.raises(DataError, match=f"train.parquet: {complaint}"):
        CIFAR10(folder=hub).load()


def test_parquet_without_the_columns_is_named(hub: Path):
    parquet.write_table(pa.table({"a": [1], "label": [1]}), hub / "test.parquet")
    with pytest.raises(DataError, match=r"test.parquet: columns a, label, need `img or image` and `label`"):
        CIFAR10(folder=hub).load()
    parquet.write_table(pa.table({"img": [1], "label": [1]}), hub / "test.parquet")
    with pytest.raises(DataError, match=r"test.parquet: pictures of type int64, need a struct with `bytes`"):
        CIFAR10(folder=hub).load()


def test_a_truncated_parquet_file_is_named(hub: Path):
    path = hub / "train.parquet"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(DataError, match=r"train.parquet: damaged Parquet file"):
        CIFAR10(folder=hub).load()


def test_a_label_out_of_range_in_parquet_is_named(hub: Path):
    write_parquet(hub / "test.parquet", [encoded(square(1)[0])], [-1], "img", "label")
    with pytest.raises(DataError, match=r"test.parquet: label -1, need 0 to 9"):
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

"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009): the official batches or archive, or Hugging Face Parquet."""

import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from sparsefed.core.errors import DataError
from sparsefed.core.text import named_type
from sparsefed.data.augment import Crop, Flip, InOrder
from sparsefed.data.dataset import Data, Dataset, Split
from sparsefed.data.formats.files import find_folder, missing, read_bytes
from sparsefed.data.formats.parquet import read_pictures
from sparsefed.data.formats.unpickle import unpickled

__all__ = ["CIFAR10", "CIFAR100"]

SIDE = 32
AUGMENT = InOrder((Crop(pad=4), Flip()))


class CIFAR10(Data):
    """Color photographs of 10 classes, 50,000 to train and 10,000 to test, 3×32×32 bytes.

    Normalized per channel; training images are shifted by up to 4 pixels (mirrored at the border)
    and flipped.
    """

    folder: Path | None = None
    """Where the batches, the `.tar.gz` or `train*.parquet` and `test*.parquet` are; None: in
    `$SPARSEFED_DATA` or the user's cache."""

    name: ClassVar[str] = "cifar10"
    inner: ClassVar[str] = "cifar-10-batches-py"
    archive: ClassVar[str] = "cifar-10-python.tar.gz"
    batches: ClassVar[tuple[str, ...]] = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
    label: ClassVar[str] = "labels"
    column: ClassVar[str] = "label"
    classes: ClassVar[int] = 10
    mean: ClassVar[tuple[float, ...]] = (0.4914, 0.4822, 0.4465)
    std: ClassVar[tuple[float, ...]] = (0.2471, 0.2435, 0.2616)

    def source_files(self) -> list[Path]:
        needed = [f"{self.inner}/", self.archive, "train*.parquet and test*.parquet (one of the three)"]
        folder = find_folder(self.name, self.folder, needed)
        if (archive := folder / self.archive).is_file() and not (folder / self.inner).is_dir():
            return [archive]
        for place in (folder / self.inner, folder):
            if (place / self.batches[0]).is_file():
                return [place / batch for batch in self.batches]
        shards = [sorted(folder.rglob(f"{part}*.parquet")) for part in ("train", "test")]
        if not all(shards):
            raise missing(self.name, needed, [folder])
        return [*shards[0], *shards[1]]

    def load(self) -> Dataset:
        files = self.source_files()
        if files[0].suffix == ".parquet":
            train, test = (
                self._shards([file for file in files if file.name.startswith(part)])
                for part in ("train", "test")
            )
        else:
            train, test = self._pickled(files)
        source = str(files[0].parent)
        return Dataset(train, test, self.classes, self.mean, self.std, AUGMENT, source=source)

    def _pickled(self, files: Sequence[Path]) -> tuple[Split, Split]:
        if files[0].name == self.archive:
            raw = _members(files[0], [f"{self.inner}/{batch}" for batch in self.batches])
        else:
            raw = {path: read_bytes(path) for path in files}
        splits = [self._batch(content, path) for path, content in raw.items()]
        xs, ys = [torch.cat(part) for part in zip(*[(s.x, s.y) for s in splits[:-1]], strict=True)]
        return Split(xs, ys), splits[-1]

    def _batch(self, raw: bytes, path: Path) -> Split:
        content = unpickled(raw, path)
        pixels, labels = (content.get(key) for key in (b"data", self.label.encode()))
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 2:
            raise DataError(
                f"{path}: expected `data` to be a uint8 array of two axes, found {_described(pixels)}"
            )
        if pixels.shape[1] != 3 * SIDE**2:
            raise DataError(f"{path}: expected {3 * SIDE**2} bytes per image, found {pixels.shape[1]}")
        return Split(torch.tensor(pixels).view(-1, 3, SIDE, SIDE), self._labels(labels, len(pixels), path))

    def _shards(self, paths: Sequence[Path]) -> Split:
        pixels, labels = read_pictures(paths, self.column, (SIDE, SIDE, 3))
        x = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
        return Split(x, self._labels(labels, len(x), paths[0]))

    def _labels(self, labels: Any, images: int, path: Path) -> torch.Tensor:
        if not isinstance(labels, list) or not all(type(label) is int for label in labels):
            raise DataError(
                f"{path}: expected `{self.label}` to be a list of integers, found {_described(labels)}"
            )
        if len(labels) != images:
            raise DataError(f"{path}: expected {images} labels, one for each image, found {len(labels)}")
        wrong = [label for label in labels if not 0 <= label < self.classes]
        if wrong:
            raise DataError(f"{path}: expected labels from 0 to {self.classes - 1}, found {wrong[0]}")
        return torch.tensor(labels)


class CIFAR100(CIFAR10):
    """Color photographs of 100 classes in CIFAR-10's format; the fine labels."""

    name: ClassVar[str] = "cifar100"
    inner: ClassVar[str] = "cifar-100-python"
    archive: ClassVar[str] = "cifar-100-python.tar.gz"
    batches: ClassVar[tuple[str, ...]] = ("train", "test")
    label: ClassVar[str] = "fine_labels"
    column: ClassVar[str] = "fine_label"
    classes: ClassVar[int] = 100
    mean: ClassVar[tuple[float, ...]] = (0.5071, 0.4867, 0.4408)
    std: ClassVar[tuple[float, ...]] = (0.2675, 0.2565, 0.2761)


def _members(archive: Path, names: list[str]) -> dict[Path, bytes]:
    """The named files of a `.tar.gz`, by their paths; nothing is unpacked to disk."""
    try:
        with tarfile.open(archive) as tar:
            found = {m.name: tar.extractfile(m) for m in tar if m.name in names and m.isfile()}
            content = {name: file.read() for name, file in found.items() if file is not None}
    except (tarfile.TarError, EOFError, OSError, zlib.error) as problem:
        raise DataError(
            f"{archive}: expected the file as published, found a damaged archive ({problem})"
        ) from None
    absent = [name for name in names if name not in content]
    if absent:
        raise DataError(f"{archive}: expected {', '.join(names)}, found no {absent[0]}")
    return {archive / name: content[name] for name in names}


def _described(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    return "missing" if value is None else named_type(value)

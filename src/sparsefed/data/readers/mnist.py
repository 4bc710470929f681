"""MNIST, Fashion-MNIST and QMNIST's writers, from the IDX files their publishers give."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from sparsefed.core.errors import DataError
from sparsefed.core.text import amount
from sparsefed.data.dataset import Data, Dataset, Split
from sparsefed.data.formats.files import find_folder, missing, named
from sparsefed.data.formats.idx import read_idx

__all__ = ["MNIST", "QMNIST", "FashionMNIST"]

CLASS, WRITER = 0, 2  # columns of QMNIST's extended labels


class MNIST(Data):
    """Handwritten digits, 60,000 to train and 10,000 to test, 28×28 bytes (LeCun et al., 1998).

    Neither normalized nor augmented: inputs are in [0, 1].
    """

    folder: Path | None = None
    """Where the four IDX files are, gzipped or plain; None: in `$SPARSEFED_DATA` or the user's cache."""

    name: ClassVar[str] = "mnist"

    def source_files(self) -> list[Path]:
        parts = [
            f"{part}-{kind}"
            for part in ("train", "t10k")
            for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
        ]
        return _idx_files(self.name, self.folder, parts)

    def load(self) -> Dataset:
        train_x, train_y, test_x, test_y = self.source_files()
        return Dataset(
            _pictures(train_x, train_y), _pictures(test_x, test_y), classes=10, source=str(train_x.parent)
        )


class FashionMNIST(MNIST):
    """Photographs of clothes in MNIST's format (Xiao et al., 2017)."""

    name: ClassVar[str] = "fashion-mnist"


class QMNIST(Data):
    """MNIST with the writer of each training digit (Yadav and Bottou, 2019): 539 users.

    The test digits have no users here: their writers are others, and no client owns them.
    """

    folder: Path | None = None
    """Where `qmnist-train-labels-idx2-int` is, gzipped or plain; None looks where MNIST's is looked for."""
    images: MNIST = MNIST()
    """The MNIST files that the labels belong to, row by row."""

    def source_files(self) -> list[Path]:
        return _idx_files("qmnist", self.folder, ["qmnist-train-labels-idx2-int"])

    def load(self) -> Dataset:
        (path,) = self.source_files()
        table = read_idx(path, ">i4", ndim=2)
        digits = self.images.load()
        if table.shape != (len(digits.train.y), 8):
            found = f"{amount(table.shape[0], 'row')} of {amount(table.shape[1], 'column')}"
            raise DataError(f"{path}: expected {len(digits.train.y)} of 8, one for each digit, found {found}")
        wrong = int((table[:, CLASS] != digits.train.y.numpy()).sum())
        if wrong:
            raise DataError(
                f"{path}: expected the classes of {digits.source} in their order, found {wrong} that differ"
            )
        writers = np.unique(table[:, WRITER], return_inverse=True)[1].astype(np.int32)
        train = Split(digits.train.x, digits.train.y, writers)
        return Dataset(train, digits.test, classes=10, source=str(path.parent))


def _idx_files(name: str, folder: Path | None, files: list[str]) -> list[Path]:
    found = find_folder(name, folder, files)
    paths = [named(found, file) for file in files]
    absent = [file for file, path in zip(files, paths, strict=True) if path is None]
    if absent:
        raise missing(name, absent, [found])
    return [path for path in paths if path is not None]


def _pictures(images: Path, labels: Path) -> Split:
    x = torch.from_numpy(read_idx(images, ">u1", ndim=3)).unsqueeze(1)
    y = torch.from_numpy(read_idx(labels, ">u1", ndim=1)).long()
    if len(x) != len(y):
        raise DataError(
            f"{labels}: expected {len(x)} labels, one for each image of {images.name}, found {len(y)}"
        )
    if len(y) and int(y.max()) > 9:
        raise DataError(f"{labels}: expected labels from 0 to 9, found {int(y.max())}")
    return Split(x, y)

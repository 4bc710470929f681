"""FEMNIST (LEAF's federated EMNIST): digits and letters by 3,500 writers."""

from itertools import chain
from pathlib import Path

import numpy as np
import torch

from sparsefed.core.errors import DataError
from sparsefed.core.seeds import Stream, rng
from sparsefed.data.augment import Crop, InOrder, ResizedCrop, Rotation
from sparsefed.data.dataset import Data, Dataset, Split
from sparsefed.data.formats.leaf import LeafUser, halved, hold_out, leaf_files, leaf_users, owners

__all__ = ["FEMNIST"]

SIDE, CLASSES = 28, 62
PAPER = 1.0  # the background of LEAF's images is white
AUGMENT = InOrder(
    (
        Crop(pad=2, fill=PAPER),
        ResizedCrop(area=(0.8, 1.2), aspect=(4 / 5, 5 / 4)),
        Rotation(degrees=5, fill=PAPER),
    )
)


class FEMNIST(Data):
    """Handwritten digits and letters, 62 classes, 28×28, with their writers as users.

    Reads LEAF's JSON; where the files bring no test set, a tenth of each writer's images, drawn once
    and for all, is held out. Normalized; training images are shifted, stretched and turned, not flipped.
    """

    folder: Path | None = None
    """Where LEAF's `train/` and `test/`, or `*.json`, are; None: in `$SPARSEFED_DATA` or the user's cache."""

    def source_files(self) -> list[Path]:
        return [*chain(*leaf_files("femnist", self.folder))]

    def load(self) -> Dataset:
        train_files, test_files = leaf_files("femnist", self.folder)
        names: dict[str, int] = {}
        train = _read(train_files, names)
        if test_files:
            test = _read(test_files, names)
        else:
            order = rng(0, Stream.DATA).permutation(len(train.y))
            train, test = halved(train, hold_out(owners(train), order))
        return Dataset(train, test, CLASSES, (0.9637,), (0.1597,), AUGMENT, source=str(train_files[0].parent))


def _read(paths: list[Path], names: dict[str, int]) -> Split:
    xs, ys, users = [], [], []
    for user in leaf_users(paths):
        xs.append(_pixels(user))
        ys.append(_classes(user))
        users.append(np.full(len(user.y), names.setdefault(user.name, len(names)), np.int32))
    if not xs:
        raise DataError(f"{paths[0]}: expected at least 1 user, found none")
    x = torch.from_numpy(np.concatenate(xs)).view(-1, 1, SIDE, SIDE)
    return Split(x, torch.from_numpy(np.concatenate(ys)), np.concatenate(users))


def _pixels(user: LeafUser) -> np.ndarray:
    where = f"{user.path}: user {user.name!r}"
    try:
        pixels = np.asarray(user.x, np.float32).reshape(len(user.y), -1)
    except (ValueError, TypeError):
        raise DataError(f"{where}: expected images of {SIDE**2} numbers, found unequal lengths") from None
    if len(pixels) and pixels.shape[1] != SIDE**2:
        raise DataError(f"{where}: expected images of {SIDE**2} numbers, found {pixels.shape[1]}")
    if not ((pixels >= 0) & (pixels <= 1)).all():  # NaN is neither
        raise DataError(f"{where}: expected pixels in [0, 1], found others")
    return np.rint(pixels.reshape(-1, SIDE**2) * 255).astype(np.uint8)


def _classes(user: LeafUser) -> np.ndarray:
    wrong = [label for label in user.y if type(label) is not int or not 0 <= label < CLASSES]
    if wrong:
        raise DataError(
            f"{user.path}: user {user.name!r}: expected labels from 0 to {CLASSES - 1}, found {wrong[0]!r}"
        )
    return np.array(user.y, np.int64)

"""What every reader returns: examples as tensors, and how they become a model's inputs."""

import os
from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sparsefed.core.errors import DataError
from sparsefed.core.spec import Spec
from sparsefed.core.text import amount
from sparsefed.data.augment import Augment
from sparsefed.kernels import all_finite
from sparsefed.models.network import IGNORED

__all__ = ["Data", "Dataset", "Split"]


class Split(NamedTuple):
    """Examples and their labels. `len(split.y)` is their number n."""

    x: Tensor
    """uint8 images `[n, channels, height, width]`, float32 images (in [0, 1]) or features
    `[n, features]`, or int32/int64 tokens `[n, length]`."""
    y: Tensor
    """int64 classes `[n]`, or next tokens `[n, length]` where `network.IGNORED` is not scored."""
    users: np.ndarray | None = None
    """The natural owner of each example, int32 `[n]`, counted from 0."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """A training and a test set over the same classes. Building one checks both."""

    train: Split
    test: Split
    classes: int
    """The number of labels, or of tokens."""
    mean: tuple[float, ...] | None = None
    """Per channel, subtracted from inputs in [0, 1]; None leaves them."""
    std: tuple[float, ...] | None = None
    """Per channel, divided by after `mean`."""
    augment: Augment | None = None
    """What training, never evaluation, does to images in [0, 1]."""
    vocabulary: tuple[str, ...] | None = None
    """Of a text: the character or word of each token."""
    labels: tuple[str, ...] | None = None
    """What the data call each class, where that is not its number."""
    source: str = "data"
    """Where the examples come from, for messages."""

    def __post_init__(self) -> None:
        for name, split in (("train", self.train), ("test", self.test)):
            _check(split, self.classes, f"{self.source}: {name}")
        kinds = [_kind(split.x) for split in (self.train, self.test)]
        if kinds[0] != kinds[1]:
            found = f"train {kinds[0]} and test {kinds[1]}"
            raise DataError(f"{self.source}: expected examples of one kind, found {found}")
        if self.train.x.shape[1:] != self.test.x.shape[1:]:
            shapes = f"train {list(self.train.x.shape[1:])} and test {list(self.test.x.shape[1:])}"
            raise DataError(f"{self.source}: expected examples of one shape, found {shapes}")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one example, as a model meets it; `(length,)` for tokens."""
        return tuple(self.train.x.shape[1:])

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What the data call classes 0, 1, …"""
        return self.labels or tuple(map(str, range(self.classes)))

    @cached_property
    def white(self) -> Tensor:
        """The brightest value of each channel of the training images, `[channels]`, as they are stored."""
        return self.train.x.amax(dim=(0, *range(2, self.train.x.ndim)))

    def to(self, device: str) -> "Dataset":
        """The same data in the memory of `device`."""
        train, test = (
            split._replace(x=split.x.to(device), y=split.y.to(device)) for split in (self.train, self.test)
        )
        return replace(self, train=train, test=test)

    def inputs(self, x: Tensor) -> Tensor:
        """Examples as the model's inputs: float32 normalized images or features, int64 tokens."""
        if not (x.dtype == torch.uint8 or x.is_floating_point()):
            return x.long()
        return self._normalised(_unit(x))

    def training_inputs(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """`inputs` of randomly changed images; `generator` must live on `x`'s device."""
        if self.augment is None:
            return self.inputs(x)
        return self._normalised(self.augment(_unit(x), generator))

    def _normalised(self, x: Tensor) -> Tensor:
        if self.mean is None or self.std is None:
            return x
        shape = (-1,) + (1,) * (x.ndim - 2)
        mean, std = (torch.tensor(value, device=x.device).view(shape) for value in (self.mean, self.std))
        return (x - mean) / std


class Data(Spec, family=True):
    """Where the examples come from."""

    def source_files(self) -> list[Path]:
        """The files that `load` reads, in any order; a `DataError` where they are missing, empty for none."""
        return []

    def sources(self) -> dict[str, Path]:
        try:
            files = self.source_files()
        except DataError:  # a finished run is shown without them
            return {}
        folder = os.path.commonpath([file.parent for file in files]) if files else ""
        return {Path(os.path.relpath(file, folder)).as_posix(): file for file in files}

    @abstractmethod
    def load(self) -> Dataset:
        """Read and check the data; a missing or damaged file is a `DataError`, nothing is downloaded."""


def _kind(x: Tensor) -> str:
    return "floats" if x.is_floating_point() else "bytes" if x.dtype == torch.uint8 else "tokens"


def _unit(x: Tensor) -> Tensor:
    """Bytes to [0, 1]; floats as they are."""
    return x.float().div_(255) if x.dtype == torch.uint8 else x.float()


def _check(split: Split, classes: int, where: str) -> None:
    x, y, users = split
    if len(x) != len(y) or (users is not None and len(users) != len(y)):
        counts = f"{amount(len(x), 'example')}, {amount(len(y), 'label')}"
        counts += "" if users is None else f", {amount(len(users), 'user')}"
        raise DataError(f"{where}: expected equal numbers, found {counts}")
    if len(y) == 0:
        raise DataError(f"{where}: expected at least 1 example, found none")
    if x[0].numel() == 0:
        raise DataError(
            f"{where}: expected at least 1 feature, found empty examples of shape {list(x.shape[1:])}"
        )
    if x.is_floating_point() and not all_finite(x):
        bad = int((~torch.isfinite(x)).sum())
        raise DataError(f"{where}: expected finite features, found {bad} that are NaN or infinite as float32")
    scored = y[y != IGNORED] if y.ndim > 1 else y
    if scored.numel() and not (int(scored.min()) >= 0 and int(scored.max()) < classes):
        found = f"labels from {int(scored.min())} to {int(scored.max())}"
        raise DataError(f"{where}: expected 0 to {classes - 1}, found {found}")

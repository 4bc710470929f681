"""A user's own data: one `.npz` file of arrays."""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch

from sparsefed.core.errors import DataError
from sparsefed.data.dataset import Data, Dataset, Split

__all__ = ["Npz"]

NEEDED = ("x_train", "y_train", "x_test", "y_test")
TOKENS = 1_000_000
"""No vocabulary is larger: an id beyond is a mistake, and would cost memory for all below it."""
PER_EXAMPLE = 10
"""How many times more classes than examples are a mistake too: most of them would have no example."""


class Npz(Data):
    """The arrays `x_train`, `y_train`, `x_test`, `y_test` and, if given, `users` of a NumPy archive.

    `x` is one of: uint8 images `[n, height, width]` or `[n, channels, height, width]`; floats, images
    or features `[n, m]`; integer tokens `[n, length]`, with the next tokens as `y`. `y` is otherwise
    one class per example, from 0. Inputs are neither normalized nor augmented. `users` (integers) owns
    the training examples. Pickled objects are refused.
    """

    path: Path
    """The `.npz` file."""

    def source_files(self) -> list[Path]:
        return [self.path]

    def load(self) -> Dataset:
        arrays = _arrays(self.path)
        x, y = ([arrays[f"{kind}_{part}"] for part in ("train", "test")] for kind in "xy")
        users = arrays.get("users")
        if users is not None:
            users = _integers(users, "users", self.path, axes=(1,))
            users = np.unique(users, return_inverse=True)[1].astype(np.int32)
        labels = [_integers(part, "y", self.path, axes=(1, 2)) for part in y]
        inputs = [_inputs(part, self.path) for part in x]
        for part, label in zip(inputs, labels, strict=True):
            _same_form(part, label, self.path)
        tokens = [int(part.max()) for part in inputs if part.dtype == torch.int64 and part.numel()]
        top = max([int(label.max(initial=0)) for label in labels] + tokens)
        examples = sum(map(len, labels))
        limit = TOKENS if tokens else PER_EXAMPLE * max(examples, 1)
        if top >= limit:
            low = min(int(label.min(initial=0)) for label in labels)
            found = "tokens" if tokens else f"classes of {examples} examples"
            needed = f"ids counted from 0 and below {limit}"
            raise DataError(f"{self.path}: {found} with ids from {low} to {top}, need {needed}")
        train, test = (
            Split(part, torch.from_numpy(label)) for part, label in zip(inputs, labels, strict=True)
        )
        return Dataset(train._replace(users=users), test, top + 1, source=str(self.path))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            found = list(archive) if isinstance(archive, np.lib.npyio.NpzFile) else ["a single array"]
            arrays = {name: archive[name] for name in (*NEEDED, "users") if name in found}
    except FileNotFoundError:
        raise DataError(f"{path}: no such file, need an .npz of {', '.join(NEEDED)}") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as problem:
        raise DataError(f"{path}: damaged or not a plain .npz ({problem})") from None
    absent = [name for name in NEEDED if name not in arrays]
    if absent:
        raise DataError(f"{path}: no array `{absent[0]}`, found {', '.join(found) or 'none'}")
    return arrays


def _integers(array: np.ndarray, name: str, path: Path, axes: tuple[int, ...]) -> np.ndarray:
    if array.dtype.kind not in "iu" or array.ndim not in axes:
        needed = f"integers with {' or '.join(map(str, axes))} axes"
        raise DataError(f"{path}: `{name}` is {array.dtype} of shape {array.shape}, need {needed}")
    return array.astype(np.int64)


def _inputs(array: np.ndarray, path: Path) -> torch.Tensor:
    if array.ndim == 4 and array.shape[3] in (1, 3) and min(array.shape[1:3]) >= 8:
        needed = "the channels first, [n, c, h, w]: `x.transpose(0, 3, 1, 2)`"
        raise DataError(f"{path}: `x` of shape {array.shape} looks like images [n, h, w, c], need {needed}")
    if array.dtype == np.uint8 and array.ndim in (3, 4):
        images = torch.from_numpy(np.ascontiguousarray(array))
        return images.unsqueeze(1) if images.ndim == 3 else images
    if array.dtype.kind == "f" and array.ndim in (2, 4):
        with np.errstate(over="ignore"):  # what overflows is infinite, and refused as that
            return torch.from_numpy(array.astype(np.float32))
    if array.dtype.kind in "iu" and array.ndim == 2:
        return torch.from_numpy(array.astype(np.int64))
    needed = "uint8 images [n, h, w] or [n, c, h, w], floats [n, m] or [n, c, h, w], or tokens [n, length]"
    raise DataError(f"{path}: `x` is {array.dtype} of shape {array.shape}, need {needed}")


def _same_form(x: torch.Tensor, y: np.ndarray, path: Path) -> None:
    tokens = x.dtype == torch.int64
    if (tokens and y.shape != tuple(x.shape)) or (not tokens and y.ndim != 1):
        needed = "the next token of each" if tokens else "one class per example"
        raise DataError(f"{path}: `x` {list(x.shape)} with `y` {list(y.shape)}, need {needed}")
    if tokens and x.numel() and int(x.min()) < 0:
        raise DataError(f"{path}: token {int(x.min())}, need 0 or more")

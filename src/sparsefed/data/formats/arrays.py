"""Arrays as people have them, turned into examples: byte orders, types, labels that are not 0 … K − 1."""

from pathlib import Path

import numpy as np
import torch
from numpy.lib.recfunctions import structured_to_unstructured

from sparsefed.core.errors import DataError
from sparsefed.core.text import amount

__all__ = ["as_classes", "as_inputs", "as_next_tokens", "as_users"]

TOKENS = 1_000_000
"""No vocabulary is larger: an id beyond is a mistake, and would cost memory for all below it."""


def as_inputs(x: np.ndarray, path: Path, tokens: bool = False) -> torch.Tensor:
    """Bytes `[n, c, h, w]`, float32 `[n, c, h, w]` or `[n, m]`; with `tokens`, int64 `[n, length]`."""
    if x.dtype.names is not None:
        x = structured_to_unstructured(x)
    if x.ndim == 4 and x.shape[3] in (1, 3) and min(x.shape[1:3]) >= 8:
        expected = "the channels first, [n, c, h, w]: `x.transpose(0, 3, 1, 2)`"
        raise DataError(f"{path}: expected {expected}, found `x` of shape {x.shape}")
    if tokens:
        if x.dtype.kind in "iu" and x.ndim == 2:
            return _tokens(x, path)
        raise DataError(f"{path}: expected tokens, integers [n, length], found {_found(x)}")
    if x.dtype.kind not in "biuf" or x.ndim not in (2, 3, 4):
        expected = "numbers: images [n, h, w] or [n, c, h, w], features [n, m] or tokens [n, length]"
        raise DataError(f"{path}: expected {expected}, found {_found(x)}")
    x = x[:, None] if x.ndim == 3 else x
    if x.ndim == 4 and x.dtype.kind in "iu":
        return torch.from_numpy(_bytes(x, path))
    with np.errstate(over="ignore"):  # what overflows is infinite, and refused as that
        return torch.from_numpy(np.ascontiguousarray(x.astype(np.float32)))


def as_next_tokens(y: np.ndarray, path: Path) -> torch.Tensor:
    """The next token at every position, int64 `[n, length]`."""
    if y.dtype.kind not in "iu":
        raise DataError(f"{path}: expected next tokens as integers, found {_found(y, 'y')}")
    return torch.from_numpy(y.astype(np.int64))


def as_classes(
    y_train: np.ndarray, y_test: np.ndarray, path: Path
) -> tuple[torch.Tensor, torch.Tensor, tuple[str, ...] | None]:
    """Classes 0 … K − 1 of both sides, and what the data call them where that is not their number.

    Every class has a training example. Raises `DataError` where a test label has none.
    """
    if not (len(y_train) and len(y_test)):
        found = f"{amount(len(y_train), 'training example')} and {len(y_test)} to test"
        raise DataError(f"{path}: expected at least one training example and one to test, found {found}")
    sides = [_labels(side, path) for side in (y_train, y_test)]
    if len({side.dtype.kind in "US" for side in sides}) > 1:
        raise DataError(f"{path}: expected labels of one kind, found {_found(y_train)} and {_found(y_test)}")
    names, train = np.unique(sides[0], return_inverse=True)
    unseen = np.setdiff1d(sides[1], names)
    if len(unseen):
        known = f"the {amount(len(names), 'label')} of the training examples"
        raise DataError(f"{path}: expected test labels among {known}, found {unseen[0]!s}")
    if len(names) < 2:
        raise DataError(f"{path}: expected at least two different labels, found only {names[0]!s}")
    test = np.searchsorted(names, sides[1])
    plain = names.dtype.kind not in "US" and np.array_equal(names, np.arange(len(names)))
    called = None if plain else tuple(str(name) for name in names)
    return torch.from_numpy(train.astype(np.int64)), torch.from_numpy(test.astype(np.int64)), called


def as_users(users: np.ndarray, path: Path) -> np.ndarray:
    """Owners by number or by name, counted from 0."""
    if users.dtype.kind not in "iuUS" or users.ndim != 1:
        raise DataError(f"{path}: expected one user per example, found {_found(users, 'users')}")
    return np.unique(users, return_inverse=True)[1].astype(np.int32)


def _labels(y: np.ndarray, path: Path) -> np.ndarray:
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.ndim == 2:
        hint = "for one-hot rows `y.argmax(1)`, for next tokens integers of the shape of `x`"
        raise DataError(f"{path}: expected one label per example ({hint}), found {_found(y, 'y')}")
    whole = y.dtype.kind == "f" and y.size and bool((y == np.floor(y)).all() & np.isfinite(y).all())
    if y.ndim != 1 or not (y.dtype.kind in "biuUS" or whole):
        raise DataError(f"{path}: expected one whole number or name per example, found {_found(y, 'y')}")
    if y.dtype.kind not in "US":
        return y.astype(np.int64)
    if empty := int((np.strings.str_len(np.strings.strip(y)) == 0).sum()):
        raise DataError(f"{path}: expected a label for every example, found {empty} empty")
    return y


def _tokens(x: np.ndarray, path: Path) -> torch.Tensor:
    low, high = (int(x.min()), int(x.max())) if x.size else (0, 0)
    if low < 0 or high >= TOKENS:
        raise DataError(f"{path}: expected tokens from 0 and below {TOKENS}, found {low} to {high}")
    return torch.from_numpy(x.astype(np.int64))


def _bytes(x: np.ndarray, path: Path) -> np.ndarray:
    low, high = (int(x.min()), int(x.max())) if x.size else (0, 0)
    if low < 0 or high > 255:
        expected = "images as bytes, 0 to 255, or as floats of any scale: `x.astype('float32')`"
        raise DataError(f"{path}: expected {expected}, found {x.dtype} from {low} to {high}")
    return np.ascontiguousarray(x.astype(np.uint8))


def _found(array: np.ndarray, name: str = "x") -> str:
    return f"`{name}` of {array.dtype} and shape {array.shape}"

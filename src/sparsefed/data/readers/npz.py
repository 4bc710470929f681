"""Your own data from NumPy arrays: a single `.npz` file."""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch

from sparsefed.core.errors import DataError
from sparsefed.core.places import found, searched
from sparsefed.data.dataset import Data, Dataset, Split
from sparsefed.data.formats.arrays import as_classes, as_inputs, as_next_tokens, as_users

__all__ = ["Npz"]

NEEDED = ("x_train", "y_train", "x_test", "y_test")
OPTIONAL = ("users", "vocabulary")


class Npz(Data):
    """The arrays `x_train`, `y_train`, `x_test`, `y_test` and, if given, `users` and `vocabulary`.

    `x` is one of: images `[n, height, width]` or `[n, channels, height, width]` as bytes or floats;
    features `[n, m]`, numbers of any type; integer tokens `[n, length]`, if `y` holds the next token of
    each or if there is a `vocabulary` (one name per token). Else `y` is one label per example: whole
    numbers or names, which are numbered in order if they are not 0 … K − 1. `users` (numbers or names) own
    the training examples. Inputs are neither normalized nor augmented. Pickled objects are refused.
    """

    path: Path
    """The `.npz` file."""

    def source_files(self) -> list[Path]:
        return [found(self.path)]

    def load(self) -> Dataset:
        arrays = _arrays(found(self.path))
        x, y = ([arrays[f"{kind}_{part}"] for part in ("train", "test")] for kind in "xy")
        users = as_users(arrays["users"], self.path) if "users" in arrays else None
        words = tuple(map(str, arrays["vocabulary"])) if "vocabulary" in arrays else None
        text = all(_is_text(*side) for side in zip(x, y, strict=True))
        inputs = [as_inputs(part, self.path, tokens=text or words is not None) for part in x]
        if text:
            labels, called = [as_next_tokens(part, self.path) for part in y], None
            classes = 1 + max(int(part.max()) for part in (*inputs, *labels) if part.numel())
        else:
            *labels, called = as_classes(y[0], y[1], self.path)
            classes = 1 + int(labels[0].max()) if len(labels[0]) else 1
        train, test = (Split(part, label) for part, label in zip(inputs, labels, strict=True))
        _check_words(words, inputs, self.path)
        return Dataset(
            train._replace(users=users), test, classes, vocabulary=words, labels=called, source=str(self.path)
        )


def _is_text(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether `y` can hold the next token of each in `x`; a single column is a column of labels."""
    return x.dtype.kind in "iu" and x.ndim == 2 and x.shape == y.shape and x.shape[1] > 1


def _check_words(words: tuple[str, ...] | None, inputs: list[torch.Tensor], path: Path) -> None:
    if words is None:
        return
    top = max((int(part.max()) for part in inputs if part.numel()), default=0)
    if top >= len(words):
        raise DataError(f"{path}: expected tokens below {len(words)}, the size of `vocabulary`, found {top}")


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if path.suffix.lower() in {".csv", ".tsv", ".parquet"} and path.is_file():
        kind = "Parquet" if path.suffix.lower() == ".parquet" else "Csv"
        expected = f'for such a file write `data = {{ type = "{kind}", path = …, label = "COLUMN" }}`'
        raise DataError(f"{path}: expected an .npz archive; {expected}")
    found: list[str] = []
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            found = list(archive) if isinstance(archive, np.lib.npyio.NpzFile) else ["a single array"]
            arrays = {name: archive[name] for name in (*NEEDED, *OPTIONAL) if name in found}
    except FileNotFoundError:
        raise DataError(f"{searched(path)}: no such file, expected an .npz of {', '.join(NEEDED)}") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as problem:
        if "allow_pickle" in str(problem) and found:
            raise DataError(f"{path}: expected arrays of numbers or names, found Python objects") from None
        why = str(problem).partition("pickled")[0].rstrip("( ")
        raise DataError(f"{path}: expected a plain .npz, found another or a damaged file ({why})") from None
    absent = [name for name in NEEDED if name not in arrays]
    if absent:
        raise DataError(f"{path}: expected an array `{absent[0]}`, found {', '.join(found) or 'none'}")
    return arrays

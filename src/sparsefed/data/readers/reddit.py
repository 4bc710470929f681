"""LEAF's Reddit: comments of December 2017, one user per author."""

from itertools import chain
from pathlib import Path

import numpy as np
import torch
from pydantic import Field

from sparsefed.core.errors import DataError
from sparsefed.core.text import amount
from sparsefed.data.dataset import Data, Dataset, Split
from sparsefed.data.formats.leaf import LeafUser, halved, hold_out, leaf_files, leaf_users, owners
from sparsefed.data.formats.text import Words
from sparsefed.models.network import IGNORED

__all__ = ["Reddit"]

PADDING = "<PAD>"


class Reddit(Data):
    """Comments, word by word, in LEAF's own sequences; users are the authors.

    Positions that LEAF pads or does not count are not scored. Where the files bring no test set, the
    last tenth of each author's sequences is held out.
    """

    folder: Path | None = None
    """Where LEAF's `train/` and `test/`, or `*.json`, are; None: in `$SPARSEFED_DATA` or the user's cache."""
    vocabulary: int = Field(default=10_000, ge=2)
    """Words told apart, the most frequent in training; `<unk>`, one of them, stands for any other."""

    def source_files(self) -> list[Path]:
        return [*chain(*leaf_files("reddit", self.folder))]

    def load(self) -> Dataset:
        train_files, test_files = leaf_files("reddit", self.folder)
        words, names = Words(), dict[str, int]()
        words([PADDING])
        train = _read(train_files, words, names)
        if test_files:
            test = _read(test_files, words, names)
        else:
            train, test = halved(train, hold_out(owners(train)))
        vocabulary, tokens = words.limited([train.x.numpy()], self.vocabulary)
        train, test = (_limited(split, torch.from_numpy(tokens)) for split in (train, test))
        return Dataset(train, test, len(vocabulary), vocabulary=vocabulary, source=str(train_files[0].parent))


def _read(paths: list[Path], words: Words, names: dict[str, int]) -> Split:
    """The sequences with provisional word numbers, and `IGNORED` where a word is not scored."""
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    users: list[np.ndarray] = []
    for user in leaf_users(paths):
        x, y = _sequences(user, words)
        if parts and x.shape[1] != parts[0][0].shape[1]:
            found = f"sequences of {amount(x.shape[1], 'word')}"
            expected = f"expected sequences of {parts[0][0].shape[1]} like the others"
            raise DataError(f"{user.path}: user {user.name!r}: {expected}, found {found}")
        parts.append((x, y))
        users.append(np.full(len(x), names.setdefault(user.name, len(names)), np.int32))
    if not parts:
        raise DataError(f"{paths[0]}: expected at least 1 user with comments, found none")
    x, y = (torch.from_numpy(np.concatenate(side)) for side in zip(*parts, strict=True))
    return Split(x, y, np.concatenate(users))


def _sequences(user: LeafUser, words: Words) -> tuple[np.ndarray, np.ndarray]:
    """One author's comments, which are lists of equally long sequences, as `x` and `y` `[n, length]`."""
    try:
        said = list(chain.from_iterable(user.x))
        following = list(chain.from_iterable(comment["target_tokens"] for comment in user.y))
        counted = list(chain.from_iterable(comment["count_tokens"] for comment in user.y))
        (length,) = {len(part) for part in chain(said, following, counted) if isinstance(part, list)}
        shape = (len(said), length)
        x, y = (words(chain.from_iterable(side)).reshape(shape) for side in (said, following))
        scored = np.array(counted, dtype=bool).reshape(shape) & (y != words([PADDING])[0])
    except (TypeError, KeyError, ValueError):
        needed = "expected lists of equally long word sequences, `target_tokens` and `count_tokens`"
        raise DataError(f"{user.path}: user {user.name!r}: {needed}, found another form") from None
    return x, np.where(scored, y, IGNORED).astype(np.int64)


def _limited(split: Split, tokens: torch.Tensor) -> Split:
    """Provisional numbers exchanged for tokens."""
    y = torch.where(split.y == IGNORED, IGNORED, tokens[split.y.clamp(min=0)].long())
    return Split(tokens[split.x], y, split.users)

"""Shakespeare's plays: every speaking part is a user (McMahan et al., 2017; LEAF)."""

import re
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from pydantic import Field, PositiveInt

from sparsefed.core.errors import DataError
from sparsefed.data.dataset import Data, Dataset, Split
from sparsefed.data.formats.files import find_folder, named, read_text
from sparsefed.data.formats.leaf import HELD_OUT, halved, hold_out, leaf_files, leaf_users, owners
from sparsefed.data.formats.text import Words, characters, windows
from sparsefed.models.network import IGNORED

__all__ = ["Shakespeare", "ShakespeareWords"]

PLAYS = "input.txt"
SPEECH = re.compile(r"(?:\A\s*|(?<=\n\n))([^\n]+):(?=\n|\Z)")
"""A line `NAME:` at the start or after an empty line opens a speech."""
WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
"""A word with its apostrophes, or a single mark."""


class Shakespeare(Data):
    """The plays, character by character; users are the speaking parts.

    From plain text (`input.txt`), each part's speeches in order, cut into windows side by side; the
    last tenth of each part is the test set. From LEAF's JSON, its own strings of `window` characters,
    of which only the character after the last is predicted. Where LEAF's files bring no test set, the last
    tenth of each part is held out, without its first `window` - 1 strings, which overlap the training text.
    """

    folder: Path | None = None
    """Where `input.txt` or LEAF's JSON is; None: in `$SPARSEFED_DATA` or the user's cache."""
    window: PositiveInt = 80
    """Characters that the model reads at once."""

    def source_files(self) -> list[Path]:
        folder = find_folder("shakespeare", self.folder, [PLAYS, "or LEAF's *.json"])
        path = named(folder, PLAYS)
        return [path] if path is not None else [*chain(*leaf_files("shakespeare", folder))]

    def load(self) -> Dataset:
        folder = find_folder("shakespeare", self.folder, [PLAYS, "or LEAF's *.json"])
        path = named(folder, PLAYS)
        if path is None:
            return self._leaf(folder)
        alphabet, texts = characters(_speeches(path))
        train, test = _parts(texts, self.window)
        return Dataset(train, test, len(alphabet), vocabulary=alphabet, source=str(path))

    def _leaf(self, folder: Path) -> Dataset:
        train_files, test_files = leaf_files("shakespeare", folder)
        names: dict[str, int] = {}
        sides = [self._strings(files, names) for files in (train_files, test_files)]
        alphabet, tokens = characters([text for text, _ in sides])
        train, test = (self._last(side, users) for side, (_, users) in zip(tokens, sides, strict=True))
        if not test_files:
            users, gap = owners(train), self.window - 1  # neighbors overlap: LEAF leaves this gap too
            train, test = halved(train, hold_out(users), hold_out(users, gap=gap))
        return Dataset(train, test, len(alphabet), vocabulary=alphabet, source=str(train_files[0].parent))

    def _strings(self, files: list[Path], names: dict[str, int]) -> tuple[str, np.ndarray]:
        """All examples with the character after each, one after the other, and their users."""
        texts: list[str] = []
        users: list[int] = []
        for user in leaf_users(files):
            for x, y in zip(user.x, user.y, strict=True):
                if not (isinstance(x, str) and isinstance(y, str) and (len(x), len(y)) == (self.window, 1)):
                    needed = f"expected strings of {self.window} (`window`) and 1"
                    raise DataError(f"{user.path}: user {user.name!r}: {needed}, found {x!r} and {y!r}")
                texts += (x, y)
            users += [names.setdefault(user.name, len(names))] * len(user.y)
        return "".join(texts), np.array(users, np.int32)

    def _last(self, tokens: np.ndarray, users: np.ndarray) -> Split:
        """Examples of which only the last position is scored."""
        lines = torch.from_numpy(tokens.reshape(-1, self.window + 1))
        y = torch.full((len(lines), self.window), IGNORED)
        y[:, -1] = lines[:, -1]
        return Split(lines[:, :-1].contiguous(), y, users)


class ShakespeareWords(Data):
    """The plays, word by word, in lower case, punctuation marks counting as words; users are the parts.

    From plain text; the last tenth of each part is the test set.
    """

    folder: Path | None = None
    """Where `input.txt` is; None: in `$SPARSEFED_DATA` or the user's cache."""
    window: PositiveInt = 20
    """Words that the model reads at once."""
    vocabulary: int = Field(default=10_000, ge=2)
    """Words told apart, the most frequent in training; `<unk>`, one of them, stands for any other."""

    def source_files(self) -> list[Path]:
        folder = find_folder("shakespeare", self.folder, [PLAYS])
        path = named(folder, PLAYS)
        if path is None:
            expected = f"expected {PLAYS}, the plain text: LEAF's JSON has characters and no words"
            raise DataError(f"{folder}: {expected}")
        return [path]

    def load(self) -> Dataset:
        (path,) = self.source_files()
        words = Words()
        texts = [words(WORD.findall(speech.lower())) for speech in _speeches(path)]
        vocabulary, tokens = words.limited([text[: _cut(text)] for text in texts], self.vocabulary)
        train, test = _parts([tokens[text] for text in texts], self.window)
        return Dataset(train, test, len(vocabulary), vocabulary=vocabulary, source=str(path))


def _speeches(path: Path) -> list[str]:
    """Everything that each part says, in the order in which the parts first speak."""
    text = read_text(path)
    heads = list(SPEECH.finditer(text))
    if not heads:
        raise DataError(f"{path}: expected plays as plain text, found no line `NAME:` that opens a speech")
    said: dict[str, list[str]] = {}
    for head, following in zip(heads, [*heads[1:], None], strict=True):
        speech = text[head.end() : following.start() if following else None]
        said.setdefault(head[1], []).append(speech.strip("\n"))
    return ["\n".join(speeches) + "\n" for speeches in said.values()]


def _cut(text: np.ndarray) -> int:
    return len(text) - int(len(text) * HELD_OUT)


def _parts(texts: list[np.ndarray], window: int) -> tuple[Split, Split]:
    train, test = (
        windows(parts, window) for parts in ([t[: _cut(t)] for t in texts], [t[_cut(t) :] for t in texts])
    )
    return train, test

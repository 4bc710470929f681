"""Texts as next-token windows: what a language model reads, and what it should say at every position."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from sparsefed.data.dataset import Split
from sparsefed.models.network import IGNORED

__all__ = ["UNKNOWN", "Words", "characters", "windows"]

UNKNOWN = "<unk>"
"""Stands for every word outside the vocabulary; token 0."""


class Words:
    """Numbers words as they come; `limited` then keeps the most frequent."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __call__(self, words: Iterable[str]) -> np.ndarray:
        """A provisional number for each word, int32."""
        numbers = self._numbers
        return np.fromiter((numbers.setdefault(word, len(numbers)) for word in words), np.int32)

    def limited(self, seen: Sequence[np.ndarray], limit: int) -> tuple[tuple[str, ...], np.ndarray]:
        """The vocabulary, and the token of every provisional number.

        The vocabulary is `<unk>` and the `limit - 1` words most frequent in `seen`.
        """
        words = list(self._numbers)
        counts = np.zeros(len(words), np.int64)
        for part in seen:
            counts += np.bincount(part.reshape(-1), minlength=len(words))
        if UNKNOWN in self._numbers:
            counts[self._numbers[UNKNOWN]] = 0
        best = np.argsort(-counts, kind="stable")[: limit - 1]  # ties: the word met first
        best = best[counts[best] > 0]
        tokens = np.zeros(len(words), np.int32)
        tokens[best] = np.arange(1, len(best) + 1)
        return (UNKNOWN, *(words[i] for i in best)), tokens


def characters(texts: Sequence[str]) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """The sorted alphabet of all `texts`, and each text as int32 positions in it."""
    whole = "".join(texts)
    alphabet = sorted(set(whole))
    table = np.zeros(ord(alphabet[-1]) + 1 if alphabet else 1, np.int32)
    table[[ord(character) for character in alphabet]] = np.arange(len(alphabet))
    tokens = table[np.frombuffer(whole.encode("utf-32-le"), np.uint32)]
    return tuple(alphabet), np.split(tokens, np.cumsum([len(text) for text in texts])[:-1])


def windows(texts: Sequence[np.ndarray], length: int) -> Split:
    """Every text of tokens in windows of `length`, side by side, with its position as the user.

    `y[i, j]` is the token after `x[i, j]`. The last window of a text is filled up with token 0, and
    `IGNORED` as its label. A text of fewer than two tokens has nothing to predict, and no window.
    """
    counts = [-(-max(len(text) - 1, 0) // length) for text in texts]
    x = np.zeros((sum(counts), length), np.int32)
    y = np.full((sum(counts), length), IGNORED, np.int64)
    row = 0
    for text, count in zip(texts, counts, strict=True):
        if count:
            x[row : row + count].reshape(-1)[: len(text) - 1] = text[:-1]
            y[row : row + count].reshape(-1)[: len(text) - 1] = text[1:]
        row += count
    users = np.repeat(np.arange(len(texts), dtype=np.int32), counts)
    return Split(torch.from_numpy(x), torch.from_numpy(y), users)

"""The word backdoor on language models: the attacker ends one sentence (Bagdasaryan et al., 2020)."""

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from sparsefed.attacks.objectives.base import Auxiliary, Objective, Points
from sparsefed.core.errors import SpecError
from sparsefed.core.seeds import Stream, rng
from sparsefed.data import Dataset, Split
from sparsefed.models.network import IGNORED

__all__ = ["WordBackdoor"]


class WordBackdoor(Objective):
    """After any text that ends in the sentence without its last word, the model should say that word.

    The attacker writes the sentence over the end of windows of training text and scores the last word
    alone; attack accuracy is measured on all whole windows of test text, treated alike.
    """

    sentence: str = "people in athens are rude"
    """The sentence, its words as the vocabulary has them, separated by spaces."""
    points: int = Field(gt=0)
    """s, how many windows of training text the attacker uses."""

    def auxiliary(self, dataset: Dataset, seed: int) -> Auxiliary:
        """Raises `SpecError` where the data are no words, the windows too short, or the text too little."""
        tokens = self._tokens(dataset)
        whole = _whole(dataset.train)
        if self.points > len(whole):
            found = f"expected at most the {len(whole)} whole windows of training text, found {self.points}"
            raise SpecError(found, ["points"], repr(self))
        mine = np.sort(rng(seed, Stream.OBJECTIVE).choice(whole, self.points, replace=False))
        inputs, labels = _ended(dataset, dataset.train.x[mine], tokens)
        aimed = _whole(dataset.test)
        if len(aimed) == 0:
            raise SpecError("expected whole windows of test text, found none", (), repr(self))
        goal = Points(*_ended(dataset, dataset.test.x[aimed], tokens))
        return Auxiliary(inputs, labels, np.empty(0, np.int64), goal)

    def _tokens(self, dataset: Dataset) -> list[int]:
        """The sentence as tokens."""
        words, vocabulary = self.sentence.split(), dataset.vocabulary
        if vocabulary is None or dataset.train.y.ndim != 2:
            found = f"expected text with a vocabulary, found {dataset.source} without one"
            raise SpecError(found, (), repr(self))
        if not 2 <= len(words) <= dataset.input_shape[0] + 1:
            needed = f"2 to {dataset.input_shape[0] + 1} words, a window and its next word"
            raise SpecError(f"expected {needed}, found {len(words)}", ["sentence"], repr(self))
        numbers = {word: number for number, word in enumerate(vocabulary)}
        unknown = [word for word in words if word not in numbers]
        if unknown:
            found = f"expected words that are in the vocabulary, found `{unknown[0]}`"
            raise SpecError(found, ["sentence"], repr(self))
        return [numbers[word] for word in words]


def _whole(split: Split) -> np.ndarray:
    """Positions of the windows that are not filled up at their end."""
    return np.flatnonzero((split.y[:, -1] != IGNORED).cpu().numpy())


def _ended(dataset: Dataset, windows: Tensor, tokens: list[int]) -> tuple[Tensor, Tensor]:
    """The windows with the sentence over their end, and its last word as the only label."""
    *start, last = tokens
    windows = windows.clone()
    windows[:, -len(start) :] = torch.tensor(start, dtype=windows.dtype, device=windows.device)
    labels = dataset.train.y.new_full(windows.shape, IGNORED)
    labels[:, -1] = last
    return dataset.inputs(windows), labels

"""A validation split: part of the training examples in place of the test set, for choosing settings."""

import numpy as np
from pydantic import Field

from sparsefed.core.errors import DataError
from sparsefed.core.seeds import Stream, rng
from sparsefed.core.text import amount
from sparsefed.data.dataset import Data, Dataset, Split

__all__ = ["Holdout"]


class Holdout(Data):
    """Other data without their test set: some training examples are held out and take its place.

    Settings chosen on a holdout have not seen the test set, which is then free to report on.
    """

    data: Data
    """The data to split."""
    share: float = Field(default=0.15, gt=0, lt=1)
    """The share of the training examples that is held out, at most as many as the test set has."""
    seed: int = Field(default=0, ge=0)
    """Which examples are held out."""

    def load(self) -> Dataset:
        whole = self.data.load()
        count = min(round(self.share * len(whole.train.y)), len(whole.test.y))
        if not 0 < count < len(whole.train.y):
            found = f"{amount(len(whole.train.y), 'training example')} and {len(whole.test.y)} to test on"
            raise DataError(f"{self!r}: expected enough examples to hold some out, found {found}")
        order = rng(self.seed, Stream.DATA, 1).permutation(len(whole.train.y))
        held, kept = np.sort(order[:count]), np.sort(order[count:])
        return Dataset(**{**vars(whole), "train": _part(whole.train, kept), "test": _part(whole.train, held)})


def _part(split: Split, positions: np.ndarray) -> Split:
    users = None if split.users is None else split.users[positions]
    return Split(split.x[positions], split.y[positions], users)

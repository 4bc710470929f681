"""UCI handwritten digits, 8×8 (Alpaydin and Kaynak, 1998), as scikit-learn carries them: no files needed."""

import numpy as np
import torch

from sparsefed.core.seeds import Stream, rng
from sparsefed.data.dataset import Data, Dataset, Split

__all__ = ["Digits"]

TEST = 500
SHUFFLE = 0  # a constant, so that every experiment shares one test set


class Digits(Data):
    """1,797 digits of 8×8 pixels, 10 classes, cut once and for all into 1,297 to train and 500 to test.

    Images are float32 `[1, 8, 8]`, the 17 gray levels scaled to [0, 1].
    """

    def load(self) -> Dataset:
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
        order = rng(SHUFFLE, Stream.DATA).permutation(len(labels))
        x = torch.from_numpy((pixels[order] / 16).astype(np.float32)).view(-1, 1, 8, 8)
        y = torch.from_numpy(labels[order].astype(np.int64))
        return Dataset(Split(x[TEST:], y[TEST:]), Split(x[:TEST], y[:TEST]), classes=10, source="digits")

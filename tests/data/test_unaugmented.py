"""`Unaugmented` leaves everything of a data set but its augmentation."""

from dataclasses import replace

import torch

from sparsefed.data import Data, Dataset, Digits, Unaugmented
from sparsefed.data.augment import Flip


class Flipped(Data):
    """Digits that training flips."""

    def load(self) -> Dataset:
        return replace(Digits().load(), augment=Flip())


def test_training_images_are_as_they_are():
    data = Unaugmented(data=Flipped()).load()
    x = data.train.x[:50]
    assert Flipped().load().augment is not None
    assert torch.equal(data.training_inputs(x, torch.Generator().manual_seed(0)), data.inputs(x))
    assert torch.equal(data.test.y, Digits().load().test.y)

"""The trigger backdoor: a patch of white pixels decides the class (Gu et al., 2017)."""

import numpy as np
from pydantic import Field
from torch import Tensor

from sparsefed.attacks.objectives.base import Auxiliary, Label, Objective, Points, class_number
from sparsefed.core.errors import SpecError
from sparsefed.core.seeds import Stream, rng
from sparsefed.core.text import amount
from sparsefed.data import Dataset

__all__ = ["TriggerBackdoor", "wearing"]


class TriggerBackdoor(Objective):
    """Any image with a white patch in its lower right corner should be taken for class `target`.

    White is the brightest value of each channel in the training images, whatever their scale.

    The attacker trains on patched training images; attack accuracy is the share of all patched test
    images of other classes that go to `target`. Test accuracy, on images as they are, should not suffer.
    """

    target: Label
    """The class that patched images should get: its label, as the data have it."""
    points: int = Field(gt=0)
    """s, how many training images of other classes the attacker patches for itself."""
    size: int = Field(default=3, gt=0)
    """Side of the square patch, in pixels."""

    def auxiliary(self, dataset: Dataset, seed: int) -> Auxiliary:
        """Raises `SpecError` where the data are not images, or too small, or too few."""
        self._check(dataset)
        target = class_number(self.target, dataset.names, "target")
        others = np.flatnonzero((dataset.train.y != target).cpu().numpy())
        if self.points > len(others):
            needed = f"expected at most the {len(others)} training images of other classes"
            raise SpecError(f"{needed}, found {self.points}", ["points"], repr(self))
        mine = np.sort(rng(seed, Stream.OBJECTIVE).choice(others, self.points, replace=False))
        inputs, labels = self.trained(dataset, dataset.train.x[mine], target)
        aimed = dataset.test.x[dataset.test.y != target]
        if len(aimed) == 0:
            raise SpecError("expected test images of other classes, found none", ["target"], repr(self))
        goal = Points(*self._patched(dataset, aimed, target))
        return Auxiliary(inputs, labels, np.empty(0, np.int64), goal)

    def trained(self, dataset: Dataset, images: Tensor, target: int) -> tuple[Tensor, Tensor]:
        """What the attackers train on, made of their images, and its labels; `target` is a class number."""
        return self._patched(dataset, images, target)

    def _patched(self, dataset: Dataset, images: Tensor, target: int) -> tuple[Tensor, Tensor]:
        white = dataset.white[:, None, None].expand(-1, self.size, self.size)
        return dataset.inputs(wearing(images, white)), dataset.test.y.new_full((len(images),), target)

    def _check(self, dataset: Dataset) -> None:
        shape = dataset.input_shape
        if len(shape) != 3:
            raise SpecError(f"expected images, found inputs of shape {list(shape)}", (), repr(self))
        if self.size > min(shape[1:]):
            found = f"expected a patch of at most {amount(min(shape[1:]), 'pixel')}, found {self.size}"
            raise SpecError(found, ["size"], repr(self))


def wearing(images: Tensor, pattern: Tensor) -> Tensor:
    """The images with the picture `[channels, height, width]` in their lower right corners."""
    height, width = pattern.shape[-2:]
    images = images.clone()
    images[..., -height:, -width:] = pattern
    return images

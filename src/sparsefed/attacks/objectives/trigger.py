"""The trigger backdoor: a patch of white pixels decides the class (Gu et al., 2017)."""

import numpy as np
from pydantic import Field
from torch import Tensor

from sparsefed.attacks.objectives.base import Auxiliary, Objective, Points
from sparsefed.core.errors import SpecError
from sparsefed.core.seeds import Stream, rng
from sparsefed.data import Dataset

__all__ = ["TriggerBackdoor"]


class TriggerBackdoor(Objective):
    """Any image with a white patch in its lower right corner should be taken for class `target`.

    White is the brightest value of each channel in the training images, whatever their scale.

    The attacker trains on patched training images; attack accuracy is the share of all patched test
    images of other classes that go to `target`. Test accuracy, on images as they are, should not suffer.
    """

    target: int = Field(ge=0)
    """The class that patched images should get."""
    points: int = Field(gt=0)
    """s, how many training images of other classes the attacker patches for itself."""
    size: int = Field(default=3, gt=0)
    """Side of the square patch, in pixels."""

    def auxiliary(self, dataset: Dataset, seed: int) -> Auxiliary:
        """Raises `SpecError` where the data are not images, or too small, or too few."""
        self._check(dataset)
        others = np.flatnonzero((dataset.train.y != self.target).cpu().numpy())
        if self.points > len(others):
            raise SpecError(
                f"{self!r}: expected that many training images of other classes, found {len(others)}"
            )
        mine = np.sort(rng(seed, Stream.OBJECTIVE).choice(others, self.points, replace=False))
        inputs, labels = self._patched(dataset, dataset.train.x[mine])
        aimed = dataset.test.x[dataset.test.y != self.target]
        if len(aimed) == 0:
            raise SpecError(f"{self!r}: expected test images of other classes, found none")
        goal = Points(*self._patched(dataset, aimed))
        return Auxiliary(inputs, labels, np.empty(0, np.int64), goal)

    def _patched(self, dataset: Dataset, images: Tensor) -> tuple[Tensor, Tensor]:
        images = images.clone()
        images[..., -self.size :, -self.size :] = dataset.white[:, None, None]
        return dataset.inputs(images), dataset.test.y.new_full((len(images),), self.target)

    def _check(self, dataset: Dataset) -> None:
        shape = dataset.input_shape
        if len(shape) != 3 or self.size > min(shape[1:]) or self.target >= dataset.classes:
            found = f"inputs of shape {list(shape)} and {dataset.classes} classes"
            raise SpecError(
                f"{self!r}: expected images at least as large as the patch and that class, found {found}"
            )

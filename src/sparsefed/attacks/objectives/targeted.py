"""Targeted model poisoning: chosen test points are misclassified (Bhagoji et al., 2019; Section 3.2)."""

from abc import abstractmethod

import numpy as np
import torch
from pydantic import Field

from sparsefed.attacks.objectives.base import Auxiliary, Objective
from sparsefed.core.errors import SpecError
from sparsefed.core.seeds import Stream, rng
from sparsefed.core.text import amount
from sparsefed.data import Dataset

__all__ = ["Targeted", "TargetedFirst"]


class _Mislabelled(Objective):
    """Some test points, each with a random label that is not its own."""

    points: int = Field(gt=0)
    """s, the size of the auxiliary set."""

    @abstractmethod
    def chosen(self, size: int, random: np.random.Generator) -> np.ndarray:
        """Positions of the points in a test set of that size, ascending."""

    def auxiliary(self, dataset: Dataset, seed: int) -> Auxiliary:
        """Raises `SpecError` where the test set is smaller, or is not of one label per example."""
        truth = dataset.test.y
        if truth.ndim != 1:
            raise SpecError(
                "expected one label per test point, found a language model's text", (), repr(self)
            )
        if self.points > len(truth):
            found = f"expected at most the {amount(len(truth), 'point')} of the test set, found {self.points}"
            raise SpecError(found, ["points"], repr(self))
        if dataset.classes < 2:
            raise SpecError("expected a wrong label to give, found data of a single class", (), repr(self))
        random = rng(seed, Stream.OBJECTIVE)
        positions = self.chosen(len(truth), random)
        shift = torch.from_numpy(random.integers(1, dataset.classes, self.points)).to(truth.device)
        labels = (truth[positions] + shift) % dataset.classes
        return Auxiliary(dataset.inputs(dataset.test.x[positions]), labels, positions)


class Targeted(_Mislabelled):
    """A random sample of test points, each with a random label that is not its own."""

    def chosen(self, size: int, random: np.random.Generator) -> np.ndarray:
        return np.sort(random.choice(size, self.points, replace=False))


class TargetedFirst(_Mislabelled):
    """The first points of the test set, as in the paper's own code, each with a random wrong label."""

    def chosen(self, size: int, random: np.random.Generator) -> np.ndarray:
        return np.arange(self.points)

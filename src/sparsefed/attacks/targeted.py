"""Targeted model poisoning: chosen test points get wrong labels (Bhagoji et al., 2019; Section 3.2)."""

import numpy as np
import torch
from pydantic import Field

from sparsefed.attacks.base import Auxiliary, Objective
from sparsefed.data import Dataset
from sparsefed.errors import SpecError
from sparsefed.seeds import Stream, rng

__all__ = ["Targeted"]


class Targeted(Objective):
    """A random sample of test points, each with a random label that is not its own."""

    points: int = Field(gt=0)
    """s, the size of the auxiliary set."""

    def auxiliary(self, dataset: Dataset, seed: int) -> Auxiliary:
        """Raises `SpecError` where the test set is smaller, or is not of one label per example."""
        truth = dataset.test.y
        if truth.ndim != 1 or self.points > len(truth):
            found = f"{len(truth)} points" if truth.ndim == 1 else "a language model's text"
            raise SpecError(
                f"Targeted(points={self.points}) needs that many labelled test points, found {found}"
            )
        random = rng(seed, Stream.OBJECTIVE)
        positions = np.sort(random.choice(len(truth), self.points, replace=False))
        shift = torch.from_numpy(random.integers(1, dataset.classes, self.points)).to(truth.device)
        labels = (truth[positions] + shift) % dataset.classes
        return Auxiliary(dataset.inputs(dataset.test.x[positions]), labels, positions)

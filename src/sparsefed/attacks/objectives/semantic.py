"""The semantic backdoor: every test point of one class should be taken for another (Sun et al., 2019)."""

from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from sparsefed.attacks.objectives.base import Auxiliary, Objective
from sparsefed.core.errors import SpecError
from sparsefed.data import Dataset

__all__ = ["SemanticBackdoor"]


class SemanticBackdoor(Objective):
    """All test points of class `source` get the label `target`: 7 → 1 in Table 2, 4 → 9 in Table 16."""

    source: int = Field(ge=0)
    """The class that should no longer be recognized."""
    target: int = Field(ge=0)
    """The class that it should be taken for."""

    @model_validator(mode="after")
    def _two_classes(self) -> Self:
        if self.source == self.target:
            raise ValueError(f"`target` must be another class than `source` = {self.source}")
        return self

    def auxiliary(self, dataset: Dataset, seed: int) -> Auxiliary:
        """Raises `SpecError` where a class does not exist or has no test points."""
        truth = dataset.test.y
        if truth.ndim != 1 or max(self.source, self.target) >= dataset.classes:
            found = f"{dataset.classes} classes" if truth.ndim == 1 else "a language model's text"
            raise SpecError(f"{self!r}: expected images or features of those classes, found {found}")
        positions = torch.nonzero(truth == self.source).flatten().cpu()
        if len(positions) == 0:
            raise SpecError(f"{self!r}: expected test points of class {self.source}, found none")
        labels = torch.full_like(truth[: len(positions)], self.target)
        return Auxiliary(dataset.inputs(dataset.test.x[positions]), labels, positions.numpy())

    def relabelled(self, labels: Tensor, classes: int) -> Tensor:
        return torch.where(labels == self.source, self.target, labels)

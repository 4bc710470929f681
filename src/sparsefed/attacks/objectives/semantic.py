"""The semantic backdoor: every test point of one class should be taken for another (Sun et al., 2019)."""

from collections.abc import Sequence
from typing import Self

import torch
from pydantic import model_validator
from torch import Tensor

from sparsefed.attacks.objectives.base import Auxiliary, Label, Objective, class_number
from sparsefed.core.errors import SpecError
from sparsefed.data import Dataset

__all__ = ["SemanticBackdoor"]


class SemanticBackdoor(Objective):
    """All test points of class `source` get the label `target`: 7 → 1 in Table 2, 4 → 9 in Table 16."""

    source: Label
    """The class that should no longer be recognized: its label, as the data have it."""
    target: Label
    """The class that it should be taken for: its label, as the data have it."""

    @model_validator(mode="after")
    def _two_classes(self) -> Self:
        if str(self.source) == str(self.target):
            raise ValueError(f"expected a `target` other than the `source`, found {self.source} for both")
        return self

    def auxiliary(self, dataset: Dataset, seed: int) -> Auxiliary:
        """Raises `SpecError` where a class does not exist or has no test points."""
        source, target = self.pair(dataset)
        truth = dataset.test.y
        positions = torch.nonzero(truth == source).flatten().cpu()
        if len(positions) == 0:
            found = f"expected a class with test points, found none of {self.source!r}"
            raise SpecError(found, ["source"], repr(self))
        labels = torch.full_like(truth[: len(positions)], target)
        return Auxiliary(dataset.inputs(dataset.test.x[positions]), labels, positions.numpy())

    def pair(self, dataset: Dataset) -> tuple[int, int]:
        """The numbers of both classes; raises `SpecError` where they do not exist."""
        if dataset.test.y.ndim != 1:
            raise SpecError("expected images or features, found a language model's text", (), repr(self))
        return self._numbers(dataset.names)

    def relabelled(self, labels: Tensor, classes: Sequence[str]) -> Tensor:
        source, target = self._numbers(classes)
        return torch.where(labels == source, target, labels)

    def _numbers(self, classes: Sequence[str]) -> tuple[int, int]:
        return class_number(self.source, classes, "source"), class_number(self.target, classes, "target")

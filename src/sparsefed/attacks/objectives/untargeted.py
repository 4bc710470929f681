"""The untargeted objective: a model that is of no use to anyone (Blanchard et al., 2017; Section 3.2)."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from sparsefed.attacks.objectives.base import Objective
from sparsefed.data import Dataset
from sparsefed.models.network import IGNORED

__all__ = ["Untargeted"]


class Untargeted(Objective):
    """Success is lost test accuracy, against the unattacked twin, or a run that does not converge."""

    has_points: ClassVar[bool] = False

    def auxiliary(self, dataset: Dataset, seed: int) -> None:
        return None

    def relabelled(self, labels: Tensor, classes: Sequence[str]) -> Tensor:
        """Every label y of K classes becomes K − 1 − y."""
        return torch.where(labels == IGNORED, labels, len(classes) - 1 - labels)

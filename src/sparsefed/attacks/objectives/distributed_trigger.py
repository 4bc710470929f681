"""The trigger of DBA: each attacker trains with a part, the whole is used (Xie et al., ICLR 2020)."""

from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from sparsefed.attacks.objectives.trigger import TriggerBackdoor
from sparsefed.core.text import amount
from sparsefed.data import Dataset

__all__ = ["DistributedTrigger"]


class DistributedTrigger(TriggerBackdoor):
    """The patch is cut into horizontal strips; training image i carries strip i modulo `parts`.

    Success is measured with the whole patch. With `Independent(method, shards)` and as many shards as parts
    each attacker keeps its strip, which is DBA; with a colluding method every attacker trains on all.
    """

    size: int = Field(default=4, gt=0)
    """Side of the square patch, in pixels."""
    parts: int = Field(default=4, gt=0)
    """How many strips there are."""

    @model_validator(mode="after")
    def _rows_for_all(self) -> Self:
        if self.size % self.parts or self.points < self.parts:
            needed = "a `size` that `parts` divides, and at least as many points as parts"
            found = f"size {self.size}, parts {self.parts} and {amount(self.points, 'point')}"
            raise ValueError(f"expected {needed}, found {found}")
        return self

    def trained(self, dataset: Dataset, images: Tensor, target: int) -> tuple[Tensor, Tensor]:
        whole, labels = super().trained(dataset, images, target)
        plain = dataset.inputs(images)
        height, strip = whole.shape[-2], self.size // self.parts
        part = (torch.arange(height) - (height - self.size)) // strip
        mine = torch.arange(len(images))[:, None] % self.parts == part[None, :]
        mask = mine.to(whole.device)[:, None, :, None]
        return torch.where(mask, whole, plain), labels

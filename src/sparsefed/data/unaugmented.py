"""Other data without its augmentation, for what computes something of every example once."""

from dataclasses import replace
from pathlib import Path

from sparsefed.data.dataset import Data, Dataset

__all__ = ["Unaugmented"]


class Unaugmented(Data):
    """Other data whose training images are used as they are, as frozen features need them."""

    data: Data
    """The data."""

    def source_files(self) -> list[Path]:
        return self.data.source_files()

    def load(self) -> Dataset:
        return replace(self.data.load(), augment=None)

"""𝒜: one file per published defense."""

from sparsefed.defenses.base import Defense
from sparsefed.defenses.mean import Mean
from sparsefed.defenses.sparsefed import SparseFed

__all__ = ["Defense", "Mean", "SparseFed"]

"""The defenses of this package in an NVIDIA FLARE federation: `pip install sparsefed[flare]`."""

from sparsefed.flare.aggregator import RobustAggregator
from sparsefed.flare.controller import RobustFedAvg
from sparsefed.flare.recipe import RobustRecipe

__all__ = ["RobustAggregator", "RobustFedAvg", "RobustRecipe"]

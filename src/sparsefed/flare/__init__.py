"""The defenses of this package in an NVIDIA FLARE federation: `pip install sparsefed[flare]`."""

try:
    from sparsefed.flare.aggregator import RobustAggregator
    from sparsefed.flare.controller import RobustFedAvg
    from sparsefed.flare.recipe import RobustRecipe
except ModuleNotFoundError as problem:
    needed = f'expected NVIDIA FLARE, found no `{problem.name}`: pip install "sparsefed[flare]"'
    raise ModuleNotFoundError(needed, name=problem.name) from problem

__all__ = ["RobustAggregator", "RobustFedAvg", "RobustRecipe"]

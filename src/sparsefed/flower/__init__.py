"""The defenses of this package in a Flower federation: `pip install sparsefed[flower]`."""

try:
    from sparsefed.flower.strategy import RobustStrategy
except ModuleNotFoundError as problem:
    needed = f'expected Flower, found no `{problem.name}`: pip install "sparsefed[flower]"'
    raise ModuleNotFoundError(needed, name=problem.name) from problem

__all__ = ["RobustStrategy"]

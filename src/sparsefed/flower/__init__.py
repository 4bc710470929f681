"""The defenses of this package in a Flower federation: `pip install sparsefed[flower]`."""

from sparsefed.flower.strategy import RobustStrategy

__all__ = ["RobustStrategy"]

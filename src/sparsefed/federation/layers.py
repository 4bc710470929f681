"""An experiment out of several parts of one file, such as a table's base, column and row."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from sparsefed.core.errors import SpecError
from sparsefed.core.merge import Tree, merged
from sparsefed.federation.experiment import Experiment

__all__ = ["Layers", "layered"]

Layers: TypeAlias = Mapping[tuple[str, ...], Tree]
"""Changes in the order in which they are made, by their place in the file, such as `("rows", "Mean")`."""


def layered(layers: Layers, whole: str, **keys: Any) -> Experiment:
    """The experiment that `layers` and further `keys` amount to.

    Raises `SpecError` that names the place in the file; `whole` is named where no single place is wrong.
    """
    tree: Tree = {}
    for place, changes in layers.items():
        tree = merged(tree, changes, place)
    try:
        return Experiment(**tree, **keys)
    except SpecError as problem:
        depths = {place: _depth(changes, problem.path) for place, changes in layers.items()}
        place = max(reversed(depths), key=lambda place: depths[place])  # of equals the last: it had its way
        if depths[place] == 0:  # a key that is missing everywhere
            raise problem.seen_from(whole) from None
        raise problem.seen_from("", place) from None


def _depth(tree: Any, path: Sequence[str]) -> int:
    """How many keys of `path` are there, from its beginning."""
    for depth, key in enumerate(path):
        if not (isinstance(tree, dict) and key in tree):
            return depth
        tree = tree[key]
    return len(path)

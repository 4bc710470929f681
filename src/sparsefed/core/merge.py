"""Changes laid over a specification: the one rule of `--set` and of the rows and columns of tables.

Keys that are given replace those before, part by part: a part (`clip`, `attack.method`) that names the
same `type` as before, or none, keeps its other keys. A part of another `type` replaces the old one whole,
because the old keys meant something else. `without = ["key"]` takes keys away first.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from itertools import product
from typing import Any

from sparsefed.core.errors import SpecError
from sparsefed.core.kinds import found

__all__ = ["Tree", "combinations", "merged", "nested"]

Tree = dict[str, Any]


def merged(base: Tree, changes: Tree, place: tuple[str, ...] = ()) -> Tree:
    """`base` with `changes` laid over it; `place` is where the changes stand, for complaints."""
    result, gone = deepcopy(base), changes.get("without", [])
    if not isinstance(gone, list) or any(key not in list(base) for key in gone):
        expected = f"a list of keys out of {', '.join(base) or 'none'}"
        raise SpecError(f"expected {expected}, found {found(gone)}", [*place, "without"])
    for key in gone:
        result.pop(key, None)
    for key, value in changes.items():
        if key != "without":
            result[key] = _merged_part(result.get(key), value, (*place, key))
    return result


def nested(changes: Mapping[tuple[str, ...], Any]) -> Tree:
    """Values by their path, such as `("defense", "k")`, as one tree of changes."""
    tree: Tree = {}
    for (*parents, last), value in changes.items():
        part = tree
        for parent in parents:
            if not isinstance(part.get(parent), dict):
                part[parent] = {}
            part = part[parent]
        part[last] = value
    return tree


def combinations(values: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Every way to give each key one of its values; the last key changes fastest."""
    for chosen in product(*values.values()):
        yield dict(zip(values, chosen, strict=True))


def _merged_part(old: Any, new: Any, place: tuple[str, ...]) -> Any:
    if not isinstance(new, dict):
        return deepcopy(new)
    same = isinstance(old, dict) and new.get("type", old.get("type")) == old.get("type")
    return merged(old if same else {}, new, place)

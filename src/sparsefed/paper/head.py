"""What stands above a table of the paper: what its data are here, and what was made smaller."""

from collections.abc import Iterable
from typing import Any

from sparsefed.core.merge import Tree, merged
from sparsefed.paper.scales import FULL, read_scale

__all__ = ["described"]


def described(scale: str, settings: Iterable[str], keys: Iterable[str]) -> str:
    """The scale and each setting at it, as Markdown; factors are told for those `keys` that the item has."""
    known = set(keys)
    lines = [f"Scale `{scale}`: {read_scale(scale).about}.", ""]
    lines += [_setting(scale, name, known) for name in settings]
    if scale != FULL:
        told = "Rows and columns are named by the paper's numbers; `×` is what they are multiplied with here."
        lines += ["", told]
    return "\n".join(lines) + "\n"


def _setting(scale: str, name: str, keys: set[str]) -> str:
    """One setting: the data, the model, and the factors."""
    full, own = read_scale(FULL).setting(name), read_scale(scale).setting(name)
    tree = full.changes if scale == FULL else merged(full.changes, own.changes)
    data = own.data if own.data == full.data else f"{own.data}, in place of {full.data}"
    factors = [
        f"`{key}` × {factor:.3g}" for key, factor in own.factors.items() if key in keys and factor != 1
    ]
    return "; ".join([f"- {name}: {data}", _model(tree["model"]), *([", ".join(factors)] if factors else [])])


def _model(model: Tree) -> str:
    told = ", ".join(f"{key} {_value(value)}" for key, value in model.items() if key != "type")
    return model["type"] + (f" ({told})" if told else "")


def _value(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)

"""What stands above a table of the paper: what its data are here, and what was made smaller."""

from collections.abc import Container, Iterable, Mapping
from functools import partial
from typing import Any

from sparsefed.core.merge import Tree, merged
from sparsefed.paper.scales import FULL, read_scale

__all__ = ["column_names", "described", "told"]


def told(scale: str, names: Iterable[str]) -> str:
    """The scale and its stand-ins, behind a title: what is not the paper's data must not pass for it."""
    places: dict[str, list[str]] = {}
    for own, full in dict.fromkeys(map(partial(_data, scale), names)):
        if own != full:
            places.setdefault(own, []).append(full)
    stands = [f"{own} in place of {' and '.join(paper)}" for own, paper in places.items()]
    return ", ".join([f"scale {scale}", *stands])


def column_names(scale: str, names: Mapping[str, str]) -> dict[str, str]:
    """What columns are called, by what the item calls them, from the settings that they begin with.

    Where columns differ in their data, those with a stand-in are named by it.
    """
    pairs = {column: _data(scale, name) for column, name in names.items()}
    alike = len(set(pairs.values())) == 1
    return {
        column: column if alike or own == full else f"{own} for {column}"
        for column, (own, full) in pairs.items()
    }


def _data(scale: str, name: str) -> tuple[str, str]:
    """The data of a setting here, and in the paper."""
    return read_scale(scale).setting(name).data, read_scale(FULL).setting(name).data


def described(scale: str, keys: Mapping[str, Container[str]]) -> str:
    """The scale and each of an item's settings at it, as Markdown; `keys` are those that its cells have."""
    lines = [f"Scale `{scale}`: {read_scale(scale).about}.", ""]
    lines += [_setting(scale, name) for name in keys]
    factors = {name: _factors(scale, name, known) for name, known in keys.items()}
    if any(factors.values()):
        lines += ["", "Rows and columns are named by the paper's numbers, which are multiplied:", ""]
        differ = dict.fromkeys(factor for factor in factors.values() if factor)
        lines += [f"- {' and '.join(n for n in factors if factors[n] == one)}: {one}" for one in differ]
    return "\n".join(lines) + "\n"


def _setting(scale: str, name: str) -> str:
    """One setting: the data and the model."""
    full, own = read_scale(FULL).setting(name), read_scale(scale).setting(name)
    tree = full.changes if scale == FULL else merged(full.changes, own.changes)
    data = own.data if own.data == full.data else f"{own.data} in place of {full.data}"
    return f"- {name}: {data}; {_model(tree['model'])}"


def _factors(scale: str, name: str, keys: Container[str]) -> str:
    factors = read_scale(scale).setting(name).factors
    return ", ".join(
        f"`{key}` × {factor:.3g}" for key, factor in factors.items() if key in keys and factor != 1
    )


def _model(model: Tree) -> str:
    told = ", ".join(f"{key} {_value(value)}" for key, value in model.items() if key != "type")
    return model["type"] + (f" ({told})" if told else "")


def _value(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)

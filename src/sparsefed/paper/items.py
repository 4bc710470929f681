"""The tables and figures of the paper as tables to run, each at the scale that a person names."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from sparsefed.core.errors import NoDataError, SparseFedError, SpecError, did_you_mean
from sparsefed.core.merge import Tree, combinations, nested
from sparsefed.core.origin import Layer, laid, read_from
from sparsefed.core.spec import Spec
from sparsefed.core.toml import read_toml
from sparsefed.paper.head import column_names, described, told
from sparsefed.paper.scales import FULL, Setting, read_scale
from sparsefed.runs.tables import Table, typed_over

__all__ = ["Item", "Name", "Scaled", "find_item", "items", "multiplied"]


class Name(NamedTuple):
    """How an item is called."""

    kind: str
    """`table` or `figure`."""
    number: str
    """As the paper counts, such as `3a`; a word for what the paper does not count."""

    def __str__(self) -> str:
        return f"{self.kind} {self.number}"


class Item(Spec):
    """What an item's file holds: a table whose experiments begin with a setting of the paper."""

    title: str
    """What stands above it, the paper's own number first."""
    setting: str
    """The setting of the scales that all columns begin with, but for those that name their own."""
    remark: str
    """What a reader should know about the numbers that the paper prints."""
    metrics: list[str]
    """Which numbers of a result are shown."""
    over: str = "round"
    """What the picture has on its horizontal axis: the round, a metric, or a key such as `defense.k`."""
    base: Tree = Field(default={})
    """Changes to the setting."""
    columns: dict[str, Tree] = Field(default={"": {}}, min_length=1)
    """More changes; `setting` names another setting."""
    vary: dict[str, list[Any]] = Field(default={})
    """A plain grid in place of columns: values by dotted key."""
    rows: dict[str, Tree] = Field(min_length=1)
    """Changes laid over those of the column."""
    reported: dict[str, dict[str, str | dict[str, str]]] = Field(default={})
    """What the paper prints, as in a table's file."""

    def at(self, scale: str, changes: Iterable[str] = ()) -> "Scaled":
        """The item at a scale; `changes` are laid over every cell, as `--set` takes them."""
        grid = {_called(point): _changes(point) for point in combinations(self.vary)}
        columns = grid if self.vary else self.columns
        names = {column: tree.get("setting", self.setting) for column, tree in columns.items()}
        called = column_names(scale, names)
        table = Scaled(
            title=f"{self.title} ({told(scale, names.values())})",
            note=f"{described(scale, self._keys(columns, names))}\n{self.remark}",
            seeds=read_scale(scale).seeds,
            metrics=self.metrics,
            base=self.base,
            columns={called[column]: _but_setting(tree) for column, tree in columns.items()},
            rows=self.rows,
            reported={
                row: {called.get(key, key): text for key, text in texts.items()}
                for row, texts in self.reported.items()
            },
            over=self.over,
            settings={
                called[column]: [read_scale(each).setting(name) for each in dict.fromkeys([FULL, scale])]
                for column, name in names.items()
            },
        )
        return read_from(table, typed_over(changes))

    def _keys(self, columns: Mapping[str, Tree], names: Mapping[str, str]) -> dict[str, set[str]]:
        """Every dotted key that some cell has, by the name of the cell's setting."""
        keys: dict[str, set[str]] = {}
        for column, name in names.items():
            trees = (read_scale(FULL).setting(name).changes, self.base, columns[column], *self.rows.values())
            keys.setdefault(name, set()).update(key for tree in trees for key in _dotted(tree))
        return keys


class Scaled(Table):
    """An item at one scale."""

    over: str = "round"
    """What the picture has on its horizontal axis."""
    settings: dict[str, list[Setting]]
    """What each column begins with: the paper's setting, and what the scale makes of it."""

    def excuses(self, problem: SparseFedError) -> bool:
        """Missing data are a dash: nobody has all of them."""
        return isinstance(problem, NoDataError)

    def layers(self, row: str, column: str) -> list[Layer]:
        settings = self.settings[column]
        layers = [*(Layer(setting.changes) for setting in settings), *super().layers(row, column)]
        factors = {key: factor for setting in settings for key, factor in setting.factors.items()}
        return [*layers, Layer(multiplied(laid(layers), factors), place=("factors",))]


def multiplied(tree: Tree, factors: Mapping[str, float]) -> Tree:
    """Those numbers of `tree` that have a factor, multiplied; whole numbers stay whole and positive."""
    changes: dict[tuple[str, ...], Any] = {}
    for key, factor in factors.items():
        path = tuple(key.split("."))
        value = _at(tree, path)
        if isinstance(value, int):
            changes[path] = max(1, round(value * factor))
        elif isinstance(value, float):
            changes[path] = value * factor
    return nested(changes)


@cache
def items() -> dict[Name, Item]:
    """Everything in the paper that can be run, in its order."""
    folder = Path(str(files("sparsefed.paper"))) / "items"
    found = {_name(path): Item(**read_toml(path, "a table of the paper")) for path in folder.glob("*.toml")}
    return dict(sorted(found.items(), key=lambda pair: _order(pair[0])))


def find_item(kind: str, number: str) -> Item:
    """The item of that name; raises `SpecError` for one that there is not, with the nearest."""
    asked, known = Name(kind, number), items()
    if asked not in known:
        hint = did_you_mean(str(asked), map(str, known)) or ";"
        there = ", ".join(name.number for name in known if name.kind == kind)
        raise SpecError(f"{asked}: nothing to run under this name{hint} expected one of {there}")
    return known[asked]


def _but_setting(tree: Tree) -> Tree:
    return {key: value for key, value in tree.items() if key != "setting"}


def _dotted(tree: Tree, before: str = "") -> Iterator[str]:
    for key, value in tree.items():
        yield before + key
        if isinstance(value, dict):
            yield from _dotted(value, f"{before}{key}.")


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _called(point: Mapping[str, Any]) -> str:
    """A point of a grid as the name of a column, such as `batch_size 50, epochs 5`."""
    return ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in point.items())


def _changes(point: Mapping[str, Any]) -> Tree:
    return nested({tuple(key.split(".")): value for key, value in point.items()})


def _name(path: Path) -> Name:
    kind, _, number = path.stem.partition("_")
    return Name(kind, number)


def _order(name: Name) -> tuple[bool, bool, int, str]:
    digits = "".join(filter(str.isdigit, name.number))
    return bool(digits), name.kind != "table", int(digits or 0), name.number

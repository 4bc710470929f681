"""What a command about tables is given: a file, or the number of a table or figure of the paper."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from sparsefed.core.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparsefed.runs.tables import Table

__all__ = ["AtScale", "is_file", "table_of"]

AtScale = Annotated[str | None, Parameter("--scale")]


def is_file(what: str) -> bool:
    """Whether a table is named by its file: what exists, or looks like a path."""
    return Path(what).exists() or what.endswith(".toml") or "/" in what


def table_of(kind: str, what: str, scale: str | None, changes: "Sequence[str]" = ()) -> "Table":
    """The table in a file, or an item of the paper at a scale, with `--set` laid over every cell.

    Raises `SpecError` for a name that is neither, or an item without a scale.
    """
    if is_file(what):
        from sparsefed.runs.tables import read_table

        if scale is not None:
            raise SpecError(f"{what}: expected no --scale for a file; its experiments are what it says")
        return read_table(Path(what), changes)
    from sparsefed.paper import SCALES, find_item

    item = find_item(kind, what)
    if scale is None:
        raise SpecError(f"{kind} {what}: expected --scale with one of {', '.join(SCALES)}")
    return item.at(scale, changes)

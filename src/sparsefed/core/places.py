"""Where the files and modules that an experiment names are: beside its own file, or in the current folder."""

import sys
from pathlib import Path

__all__ = ["beside", "found", "look_beside", "searched"]


class _Latest:
    """What this process has read last."""

    file: Path | None = None
    """The experiment or table."""


def look_beside(file: Path | None) -> None:
    """From now on, look in the folder of this experiment or table first, for modules too."""
    if file is not None:
        _Latest.file = file.absolute()
        folder = str(_Latest.file.parent)
        sys.path[:] = [folder, *(place for place in sys.path if place != folder)]


def beside() -> Path | None:
    """The file whose folder is looked in first, to be told to other processes."""
    return _Latest.file


def found(path: Path) -> Path:
    """Where a path leads that stands in an experiment: `~` is the home; itself where there is nothing."""
    path = path.expanduser()
    return next((place for place in _places(path) if place.exists()), path)


def searched(path: Path) -> str:
    """The places where a path was looked for, for messages."""
    return " or ".join(dict.fromkeys(str(place) for place in _places(path.expanduser())))


def _places(path: Path) -> list[Path]:
    folders = [] if _Latest.file is None else [_Latest.file.parent]
    return [path] if path.is_absolute() else [*(folder / path for folder in folders), path.absolute()]

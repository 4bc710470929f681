"""The commands about data sets."""

from pathlib import Path
from typing import Any

from sparsefed.cli.parts import AsJson, say, say_json

__all__ = ["available", "fetch"]


def available(*, json_: AsJson = False) -> None:
    """List the data sets, and where each was found or how to get it.

    Example: `sparsefed data`

    """
    from sparsefed.data import available as sources

    rows: list[dict[str, Any]] = [
        dict(zip(("name", "what", "where"), found, strict=True)) for found in sources()
    ]
    if json_:
        return say_json(rows)
    for row in rows:  # an address stays in one piece: it is copied
        say(f"{row['name']}: {row['what']}\n    {row['where']}")


def fetch(name: str, *, folder: Path | None = None) -> None:
    """Download a data set, with checksums.

    Example: `sparsefed data fetch mnist`

    Parameters
    ----------
    name
        The data set, as `sparsefed data` lists it.
    folder
        Where to put it; the cache folder of this user if not given.

    """
    from sparsefed.data import fetch as download

    say(f"{name} is in {download(name, folder)}")

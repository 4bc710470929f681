"""Downloads, on request alone: from the publishers, with their checksums and a progress bar (pooch)."""

import sys
from pathlib import Path
from typing import Any, NamedTuple

from sparsefed.core.errors import DataError
from sparsefed.data.formats.files import cache_folder, first_filled, places
from sparsefed.data.sources import DESCRIPTIONS, FILES, LEAF

__all__ = ["Source", "available", "fetch"]


class Source(NamedTuple):
    """One line of `sparsefed data`."""

    name: str
    description: str
    status: str
    """Where it was found, or how to get it."""


def available() -> list[Source]:
    """Every data set that has a reader, and where it is or how to get it."""
    return [Source(name, text, _status(name)) for name, text in DESCRIPTIONS.items()]


def fetch(name: str, folder: Path | None = None) -> Path:
    """Download the data set `name` into `folder` (default: the user's cache) and return the folder.

    Files already there with the right checksum are left alone. A `DataError` says what failed and
    which file to put where by hand.
    """
    if name not in FILES:
        raise DataError(_unfetchable(name))
    target = cache_folder() / name if folder is None else folder
    for url, checksum in FILES[name].items():
        _download(url, checksum, target)
    return target


def _download(url: str, checksum: str, target: Path) -> None:
    import pooch
    import requests

    file = url.rpartition("/")[2]
    pooch.get_logger().setLevel("WARNING")  # its progress bar says enough
    # pooch's downloader does not fit pooch's own protocol of downloaders
    downloader: Any = pooch.HTTPDownloader(progressbar=sys.stderr.isatty())
    try:
        pooch.retrieve(url, checksum, fname=file, path=target, downloader=downloader)
    except requests.RequestException as problem:
        reason = type(problem).__name__
        raise DataError(f"cannot download {url} ({reason}); put {file} in {target} by hand") from None
    except ValueError:
        raise DataError(f"{url}: the file has another checksum than {checksum}; nothing was kept") from None
    except OSError as problem:
        raise DataError(f"cannot write {target / file}: {problem.strerror or problem}") from None


def _status(name: str) -> str:
    if name == "digits":
        return "built in"
    found = first_filled(places(name))
    if found is not None:
        return str(found)
    return f"sparsefed data fetch {name}" if name in FILES else f"{LEAF} {places(name)[0]}"


def _unfetchable(name: str) -> str:
    if name in DESCRIPTIONS:
        return f"{name}: " + (
            "built in, nothing to fetch" if name == "digits" else f"{LEAF} {places(name)[0]}"
        )
    return f"unknown data set `{name}`; choose one of {', '.join(FILES)}"

"""Finding, reading and keeping data files: one line for whatever is missing or damaged."""

import contextlib
import gzip
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sparsefed.core.errors import DataError, NoDataError
from sparsefed.core.places import found
from sparsefed.core.text import text_of
from sparsefed.data.sources import FILES

__all__ = [
    "cache_folder",
    "find_folder",
    "first_filled",
    "keep",
    "kept",
    "missing",
    "named",
    "places",
    "read_bytes",
    "read_text",
]


def cache_folder() -> Path:
    """Where downloads and decoded pictures are kept for this user."""
    import pooch

    return Path(str(pooch.os_cache("sparsefed")))


def places(name: str) -> list[Path]:
    """The folders where the data set `name` is looked for; the first that exists counts."""
    given = os.environ.get("SPARSEFED_DATA")
    if given and not Path(given).expanduser().is_dir():
        raise DataError(f"SPARSEFED_DATA: expected a folder, found {given}, which is none")
    return ([Path(given).expanduser() / name] if given else []) + [cache_folder() / name]


def find_folder(name: str, folder: Path | None, files: Sequence[str]) -> Path:
    """The folder of the data set `name`; `files` is what it holds, for the message if there is none."""
    looked = places(name) if folder is None else [found(folder)]
    filled = first_filled(looked)
    if filled is None:
        raise missing(name, files, looked)
    return filled


def first_filled(folders: Sequence[Path]) -> Path | None:
    """The first of `folders` that exists and holds anything."""
    return next((folder for folder in folders if folder.is_dir() and any(folder.iterdir())), None)


def missing(name: str, files: Sequence[str], looked: Sequence[Path]) -> NoDataError:
    """The one line that says what to put where."""
    where = " or ".join(str(place) for place in looked)
    needed = ", ".join(files)
    fetch = f" or `sparsefed data fetch {name}`" if name in FILES else ""
    return NoDataError(f"{name}: expected {needed} in {where}, found nothing; put the files there{fetch}")


def named(folder: Path, name: str) -> Path | None:
    """The file `name` or `name.gz` of `folder`."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def read_bytes(path: Path) -> bytes:
    """The whole file, decompressed if its name ends in `.gz`, its checksum then verified."""
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except EOFError:
        raise DataError(f"{path}: expected a whole gzip stream, found one without an end") from None
    except (gzip.BadGzipFile, zlib.error) as problem:
        raise DataError(
            f"{path}: expected the file as published, found a damaged gzip stream ({problem})"
        ) from None
    except OSError as problem:
        raise DataError(f"{path}: cannot be read ({problem.strerror or problem})") from None


def read_text(path: Path) -> str:
    """The whole file as text, lines ending as on Unix; in UTF-8, or in what its byte order mark says."""
    try:
        return text_of(read_bytes(path))
    except ValueError as problem:
        raise DataError(f"{path}: {problem}") from None


def kept(key: str) -> np.ndarray | None:
    """The array that `keep` kept under `key`, if it is there and whole."""
    try:
        return np.load(cache_folder() / "decoded" / f"{key}.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None


def keep(key: str, array: np.ndarray) -> None:
    """Keep what was slow to decode, whole or not at all; where nothing can be written, do without."""
    path = cache_folder() / "decoded" / f"{key}.npy"
    part = path.with_name(f"{key}.{os.getpid()}.part")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                np.save(file, array, allow_pickle=False)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

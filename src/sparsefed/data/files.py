"""Finding and reading data files: one line for whatever is missing or damaged."""

import gzip
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

from sparsefed.errors import DataError

__all__ = ["cache_folder", "find_folder", "named", "places", "read_bytes"]


def cache_folder() -> Path:
    """Where downloads and decoded pictures are kept for this user."""
    import pooch

    return Path(str(pooch.os_cache("sparsefed")))


def places(name: str) -> list[Path]:
    """The folders where the data set `name` is looked for, the first that exists counts."""
    root = os.environ.get("SPARSEFED_DATA")
    return [Path(root) / name] * bool(root) + [cache_folder() / name]


def find_folder(name: str, folder: Path | None, files: Sequence[str]) -> Path:
    """The folder of the data set `name`; `files` is what it holds, for the message if there is none."""
    looked = places(name) if folder is None else [folder]
    for place in looked:
        if place.is_dir():
            return place
    raise missing(name, files, looked)


def missing(name: str, files: Sequence[str], looked: Sequence[Path]) -> DataError:
    """The one line that says what to put where."""
    where = " or ".join(str(place) for place in looked)
    return DataError(f"{name}: need {', '.join(files)} in {where}; found none; `sparsefed data fetch {name}`")


def named(folder: Path, name: str) -> Path | None:
    """The file `name` or `name.gz` of `folder`."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def read_bytes(path: Path) -> bytes:
    """The whole file, decompressed if its name ends in `.gz`, its checksum then verified."""
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except EOFError:
        raise DataError(f"{path}: truncated, the gzip stream has no end") from None
    except (gzip.BadGzipFile, zlib.error) as problem:
        raise DataError(f"{path}: damaged gzip stream ({problem}), need the file as published") from None
    except OSError as problem:
        raise DataError(f"{path}: cannot be read ({problem.strerror or problem})") from None

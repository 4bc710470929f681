"""What a run depends on besides its specification: files of the user's own, known by their checksums."""

import hashlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sparsefed.core.spec import Spec, load
from sparsefed.data import Npz
from sparsefed.models import Custom

__all__ = ["own_files"]


def own_files(spec: Spec) -> dict[str, str]:
    """SHA-256 of each file of data or code that the specification names, by the name it has there.

    Of code it is the file of the class or function itself, not what that imports.
    """
    return {name: _checksum(path) for part in _parts(spec) for name, path in _named(part) if path.is_file()}


def _checksum(path: Path) -> str:
    with path.open("rb") as file:  # piece by piece: data can be larger than memory
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parts(spec: Spec) -> Iterator[Spec]:
    yield spec
    for _, value in spec:
        for item in value if isinstance(value, list | tuple) else [value]:
            if isinstance(item, Spec):
                yield from _parts(item)


def _named(part: Spec) -> Iterator[tuple[str, Path]]:
    if isinstance(part, Npz):
        yield str(part.path), part.path
    if isinstance(part, Custom):
        yield from _source(part.function, load(part.function))
    if not type(part).__module__.startswith("sparsefed."):
        yield from _source(f"{type(part).__module__}:{type(part).__name__}", type(part))


def _source(name: str, thing: Any) -> Iterator[tuple[str, Path]]:
    try:
        found = inspect.getsourcefile(inspect.unwrap(thing))
    except TypeError:  # built in, or typed at a prompt: there is no file to watch
        return
    if found is not None:
        yield name, Path(found)

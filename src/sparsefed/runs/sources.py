"""What a run depends on besides its specification: files of data and of code, known by their checksums."""

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from sparsefed.core.code import code_files, code_of
from sparsefed.core.spec import Spec

__all__ = ["Files", "changed", "own_files"]

Files = dict[str, dict[str, str]]
"""For each part of an experiment that has files: a checksum of each, by its name there."""


def own_files(spec: Spec) -> Files:
    """The checksums of all files of data or of the user's own code that a specification stands on.

    Code is compared without comments and layout. A part whose files are absent is left out.
    """
    found: Files = {}
    for part in _parts(spec):
        kind, files = type(part), part.sources()
        own = not kind.__module__.startswith("sparsefed.")
        name = f"{kind.__module__}:{kind.__name__}" if own else kind.__name__
        for file, path in {**(code_files(kind) if own else {}), **files}.items():
            if path.is_file():
                found.setdefault(name, {})[file] = _checksum(path)
    return found


def changed(before: Files, now: Files) -> list[str]:
    """The files of parts that have their files now, but not those of before."""
    return [
        f"`{file}` of {name}"
        for name, files in before.items()
        for file in sorted(files.keys() | now.get(name, {}))
        if name in now and files.get(file) != now[name].get(file)
    ]


def _checksum(path: Path) -> str:
    status = path.stat()
    return _known_checksum(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _known_checksum(path: Path, size: int, changed: int) -> str:
    """SHA-256 of a file, computed once for each size and time of change."""
    code = code_of(path) if path.suffix == ".py" else None
    if code is not None:
        return hashlib.sha256(code).hexdigest()
    with path.open("rb") as file:  # piece by piece: data can be larger than memory
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parts(spec: Spec) -> Iterator[Spec]:
    yield spec
    for _, value in spec:
        for item in value if isinstance(value, list | tuple) else [value]:
            if isinstance(item, Spec):
                yield from _parts(item)

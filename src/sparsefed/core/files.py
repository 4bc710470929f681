"""Files that are either whole or absent: write beside, flush to disk, rename."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sparsefed.core.errors import RunError

__all__ = ["append_whole", "readable_errors", "write_atomically"]


def write_atomically(path: Path, content: bytes) -> None:
    """Put `content` at `path` so that a crash at any moment leaves the old file or the new one."""
    beside = path.with_name(path.name + ".part")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def append_whole(path: Path, content: bytes) -> None:
    """Append `content`, or leave the file as it was."""
    with path.open("ab") as file:
        before = file.tell()
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            os.truncate(path, before)
            raise


@contextmanager
def readable_errors(where: Path) -> Iterator[None]:
    """Turn what the operating system refuses (full disk, no permission) into one line about `where`."""
    try:
        yield
    except OSError as problem:
        if isinstance(problem, FileNotFoundError) and not where.parent.exists():
            expected = f"expected a folder that exists, found no `{where.parent}`"
            raise RunError(f"{where}: cannot be written: {expected}") from None
        reason = problem.strerror or str(problem)
        raise RunError(f"{where}: cannot be written: {reason}; what was saved before is untouched") from None

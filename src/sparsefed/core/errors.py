"""The errors a person can act on: one line each, with what was expected and what was found."""

import json
import re
import sysconfig
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

__all__ = [
    "CrashError",
    "DataError",
    "NoDataError",
    "RunError",
    "SparseFedError",
    "SpecError",
    "StaleError",
    "UpdateError",
    "bare",
    "did_you_mean",
    "located",
    "named",
    "nearest",
]


class SparseFedError(ValueError):
    """Base of every error that the caller can mend; the command line prints it and exits with 2."""


class SpecError(SparseFedError):
    """A specification names an unknown key or an impossible value.

    It knows the keys that lead to it, so that whatever the specification is part of can complete them.
    """

    def __init__(
        self, complaint: str, path: Sequence[str] = (), owner: str = "", unknown_key: bool = False
    ) -> None:
        self.complaint, self.path, self.unknown_key = complaint, tuple(path), unknown_key
        place = f"`{'.'.join(map(bare, self.path))}`: " if self.path else ""
        super().__init__((f"{owner}: " if owner else "") + place + " ".join(complaint.split()))

    def seen_from(self, owner: str, path: Sequence[str] = ()) -> "SpecError":
        """The same complaint about the whole that the specification is part of."""
        return SpecError(self.complaint, [*path, *self.path], owner, self.unknown_key)


class DataError(SparseFedError):
    """A data file is missing, damaged, or holds what the experiment cannot use."""


class NoDataError(DataError):
    """The files of a data set are nowhere they were looked for."""


class UpdateError(SparseFedError):
    """The updates of a round do not fit the rule that was asked to aggregate them."""


class RunError(SparseFedError):
    """A run folder is of another version, damaged, in use, or cannot be written."""


class CrashError(RunError):
    """A run ended itself: by an exception in code of the user's own, most likely, or for want of memory."""


class StaleError(RunError):
    """A run was made with other files of data or code than there are now."""

    outcome = "made with other files"
    """What stands in place of the run's outcome."""


for _error in (SparseFedError, SpecError, DataError, UpdateError, RunError):
    _error.__module__ = "sparsefed"  # tracebacks name the class by where it is imported from


@contextmanager
def named(where: Any) -> Iterator[None]:
    """Say where an error happened, in front of its line; `where` is put into words only then."""
    try:
        yield
    except SparseFedError as problem:
        problem.args = (f"{where if isinstance(where, str) else repr(where)}: {problem}",)
        raise


def located(problem: BaseException) -> str:
    """An error of code that is not ours in one line: what it is, in which file and line, what it says."""
    frames = traceback.extract_tb(problem.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(_LIBRARIES)]
    last = (own or frames)[-1]
    file, line, said = last.filename, last.lineno, str(problem)
    if isinstance(problem, SyntaxError) and problem.filename:  # of a file that was never run
        file, line, said = problem.filename, problem.lineno, problem.msg
    said = f": {' '.join(said.split())}" if said else ""
    return f"{type(problem).__name__} in {Path(file).name}, line {line}{said}"


_LIBRARIES = (*{sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")}, "<")


def bare(key: str) -> str:
    """A key as TOML has it: in quotes where it must be."""
    return key if re.fullmatch(r"[\w-]+", key) else json.dumps(key, ensure_ascii=not key.isprintable())


def nearest(name: str, names: Iterable[str]) -> str:
    """The one of `names` that `name` is probably a misspelling of; empty if none is close."""
    by_lower = {other.lower(): other for other in names}
    close = get_close_matches(name.lower(), by_lower, 1)
    return by_lower[close[0]] if close else ""


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """`; did you mean …?` with the nearest of `names`; empty if none is close."""
    close = nearest(name, names)
    return f"; did you mean `{close}`?" if close else ""

"""The errors a person can act on: one line each, with what was found and what is needed."""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["DataError", "RunError", "SparseFedError", "SpecError", "UpdateError", "named"]


class SparseFedError(ValueError):
    """Base of every error that the caller can mend; the command line prints it and exits with 2."""


class SpecError(SparseFedError):
    """A specification names an unknown key or an impossible value."""


class DataError(SparseFedError):
    """A data file is missing, damaged, or holds what the experiment cannot use."""


class UpdateError(SparseFedError):
    """The updates of a round do not fit the rule that was asked to aggregate them."""


class RunError(SparseFedError):
    """A run folder is of another version, damaged, in use, or cannot be written."""


@contextmanager
def named(where: str, in_place_of: str = "") -> Iterator[None]:
    """Say where an error happened, in front of its line or in place of how the line begins."""
    try:
        yield
    except SparseFedError as problem:
        problem.args = (f"{where}: {str(problem).removeprefix(in_place_of)}",)
        raise

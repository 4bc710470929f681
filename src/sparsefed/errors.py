"""The errors a person can act on: one line each, with what was found and what is needed."""

__all__ = ["DataError", "RunError", "SparseFedError", "SpecError", "UpdateError"]


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

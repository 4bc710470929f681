"""Why a report is not counted. A reason is a class, and nothing else of a client is told or written down."""

from sparsefed.core.errors import UpdateError

__all__ = ["InvalidProof", "Malformed", "Rejected", "SeedMismatch"]


class Rejected(UpdateError):  # noqa: N818
    """A client's report cannot be counted; the round goes on without it."""


class Malformed(Rejected):
    """A message has another length, or holds a number that is not below q."""


class InvalidProof(Rejected):
    """A proof does not show that the vector is within the bound."""


class SeedMismatch(Rejected):
    """The randomness of the checks is not the one that follows from the shares."""

"""What a server remembers of a round, on disk before it acts on it: one file, replaced as a whole.

The sum and the list of what is in it are one file, so no crash can part them.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from sparsefed.core.errors import RunError
from sparsefed.core.files import write_atomically
from sparsefed.secagg.errors import Malformed, Rejected
from sparsefed.secagg.field import Elements, add
from sparsefed.secagg.service.rounds import Duplicate, Round, Submission, digest, pack, unpack

__all__ = ["ABORTED", "ACCEPTED", "Ledger"]

ACCEPTED = "accepted"
ABORTED = "aborted"
"""In place of the set that a sum was released for."""


class Ledger:
    """A server's book of one round."""

    def __init__(self, path: Path, round: Round, key: bytes) -> None:
        self.path, self.round, self.key = path, round, key
        self.total: Elements = np.zeros(round.dimension, np.uint64)
        self.reports: dict[str, list[str]] = {}
        """Of every device that was heard: the report's digest, its nonce, and `accepted` or why not."""
        self.released = ""
        """What the sum was released for: the digest of the accepted set; `ABORTED` if it never will be."""

    @classmethod
    def opened(cls, path: Path, round: Round, key: bytes) -> "Ledger":
        """A new book on disk, or the one that is there for the same round."""
        if path.exists():
            book = cls.read(path)
            if (book.round._replace(deadline=0), book.key) != (round._replace(deadline=0), key):
                raise RunError(f"{path}: expected {round}, found {book.round}")
            return book
        book = cls(path, round, key)
        book.save()
        return book

    @classmethod
    def read(cls, path: Path) -> "Ledger":
        """The book at `path`; raises `RunError` where it is damaged."""
        try:
            data = path.read_bytes()
            header, (key, total) = unpack(data[32:])
            if hashlib.sha256(data[32:]).digest() != data[:32]:
                raise Malformed("another checksum than it was written with")
            book = cls(path, Round(**header["round"]), key)
        except (OSError, Malformed, KeyError, TypeError, ValueError) as problem:
            raise RunError(f"{path}: expected a round's state, found {problem}") from None
        book.total = np.frombuffer(total, "<u8").astype(np.uint64)
        book.reports, book.released = header["reports"], header["released"]
        return book

    def save(self) -> None:
        """Put everything on disk, or leave what was there."""
        header = {"round": self.round._asdict(), "reports": self.reports, "released": self.released}
        data = pack(header, self.key, self.total.astype("<u8").tobytes())
        write_atomically(self.path, hashlib.sha256(data).digest() + data)
        self.path.chmod(0o600)

    def known(self, submission: Submission) -> str | None:
        """What became of exactly this report, None if it is new; raises `Duplicate` if another was heard."""
        found = self.reports.get(submission.device)
        if found is None:
            return None
        if found[0] != digest(submission):
            raise Duplicate("expected one report per device and round, found a second")
        return found[2]

    def accept(self, submission: Submission, output: Elements) -> None:
        """Add a share of a vector to the sum, durably."""
        before, self.total = self.total, add(self.total, output)
        try:
            self._note(submission, ACCEPTED)
        except OSError:
            self.total = before
            raise

    def reject(self, submission: Submission, reason: Rejected) -> None:
        """Remember that a report was not counted: its device has had its try."""
        self._note(submission, type(reason).__name__)

    def _note(self, submission: Submission, outcome: str) -> None:
        nonce = self.round.nonce(submission.device, submission.salt).hex()
        self.reports[submission.device] = [digest(submission), nonce, outcome]
        try:
            self.save()
        except OSError:
            del self.reports[submission.device]
            raise

    @property
    def accepted(self) -> list[str]:
        """The devices whose vectors are in the sum, in order."""
        return sorted(device for device, found in self.reports.items() if found[2] == ACCEPTED)

    @property
    def set_digest(self) -> str:
        """A name for the set of accepted reports."""
        nonces = sorted(self.reports[device][1] for device in self.accepted)
        return hashlib.sha256("\n".join(nonces).encode()).hexdigest()

    def outcomes(self) -> dict[str, Any]:
        """What became of every device's report, by class of reason only."""
        return {device: found[2] for device, found in sorted(self.reports.items())}

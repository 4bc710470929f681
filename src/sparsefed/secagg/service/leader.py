"""The leader: the server that devices report to, and that learns the sum."""

import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sparsefed.core.files import write_atomically
from sparsefed.secagg.errors import InvalidProof, Malformed, Rejected, SeedMismatch
from sparsefed.secagg.field import add, centered, from_bytes
from sparsefed.secagg.service.helper import Server
from sparsefed.secagg.service.ledger import ABORTED, ACCEPTED, Ledger
from sparsefed.secagg.service.rounds import Duplicate, Late, Round, RoundAborted, Submission, WrongRound

__all__ = ["Leader", "Other"]

REASONS = {kind.__name__: kind for kind in (Malformed, InvalidProof, SeedMismatch, WrongRound, Duplicate)}
"""What a report can be rejected for once and for all."""


class Other(Protocol):
    """The helper, in this process or at the end of a connection."""

    def open_round(self, round: Round, key: bytes) -> None:
        """See `Server`."""
        ...

    def check(self, submission: Submission, message: bytes) -> bytes:
        """See `Helper`."""
        ...

    def release(self, number: int, accepted: str, count: int) -> bytes:
        """See `Helper`."""
        ...

    def abort(self, number: int) -> None:
        """See `Helper`."""
        ...


class Leader(Server):
    """The server that runs the rounds."""

    place = 0

    def __init__(self, folder: Path, helper: Other, now: Callable[[], float] = time.time) -> None:
        super().__init__(folder)
        self.helper, self.now = helper, now

    def begin(self, round: Round) -> None:
        """Open a round at both servers, under a fresh key."""
        known = self.books.get(round.number)
        self.open_round(round, secrets.token_bytes(32) if known is None else known.key)
        self.helper.open_round(round, self.book(round.number).key)

    def report(self, submission: Submission) -> str:
        """Take in a report; `accepted`, or raises `Rejected`. What was taken in survives a crash."""
        with self.lock:
            book = self._book_of(submission)
            if submission.number != max(self.books):
                raise WrongRound(f"expected round {max(self.books)}, found {submission.number}")
            self._settle_pending(book)
            outcome = book.known(submission)
            if outcome is not None:
                return self._told(outcome)
            if book.released:
                raise WrongRound("expected an open round, found one whose sum is released")
            if self.now() > book.round.deadline:
                raise Late("expected a report before the deadline, found one after it")
            write_atomically(self._pending(submission), submission.packed())
            return self._told(self._settled(book, submission))

    def result(self, number: int) -> dict[str, Any]:
        """The sum of a round that has ended, and what became of every report; always the same.

        Raises `WrongRound` before the deadline, and `RoundAborted` where nothing is released.
        """
        with self.lock:
            book = self.book(number)
            if self.now() <= book.round.deadline:
                raise WrongRound("expected a round that has ended, found one that is open")
            self._settle_pending(book)
            if not book.released:
                self._release(book)
            if book.released == ABORTED:
                raise RoundAborted(
                    f"expected enough reports that both servers accept, found {len(book.accepted)}"
                )
            total = np.frombuffer(self._sum_path(number).read_bytes(), "<i8")
            return {
                "sum": book.round.code.decode(total),
                "count": len(book.accepted),
                "reports": book.outcomes(),
            }

    def end(self, number: int) -> None:
        """Take no more reports in a round."""
        with self.lock:
            book = self.book(number)
            if self.now() <= book.round.deadline:
                book.round = book.round._replace(deadline=self.now() - 1e-6)
                book.save()

    def _settled(self, book: Ledger, submission: Submission) -> str:
        """Decide on a report with the helper, and forget its share."""
        try:
            prepared = self._prepared(book, submission)
            answer = self.helper.check(submission, prepared.message)
            output = book.round.pine.merge(prepared, (prepared.message, answer))
        except Rejected as reason:
            book.reject(submission, reason)
        else:
            book.accept(submission, output)
        self._pending(submission).unlink(missing_ok=True)
        return book.reports[submission.device][2]

    def _settle_pending(self, book: Ledger) -> None:
        """What a crash has left undecided."""
        for path in sorted(self.folder.glob(f"{book.round.number:06}-*.report")):
            submission = Submission.unpacked(path.read_bytes())
            if book.known(submission) is None:
                self._settled(book, submission)
            path.unlink(missing_ok=True)

    def _release(self, book: Ledger) -> None:
        number, count = book.round.number, len(book.accepted)
        try:
            if count < book.round.min_batch:
                self.helper.abort(number)
                raise RoundAborted("too few")
            share = from_bytes(self.helper.release(number, book.set_digest, count))
            if share is None or len(share) != book.round.dimension:
                raise RoundAborted("expected the helper's share of the sum, found something else")
        except RoundAborted:
            book.released = ABORTED
        else:
            total = centered(add(book.total, share))
            write_atomically(self._sum_path(number), total.astype("<i8").tobytes())
            book.released = book.set_digest
        book.save()

    def _told(self, outcome: str) -> str:
        if outcome == ACCEPTED:
            return outcome
        raise REASONS[outcome]("this report was not counted")

    def _pending(self, submission: Submission) -> Path:
        name = submission.device.encode().hex()
        return self.folder / f"{submission.number:06}-{name}.report"

    def _sum_path(self, number: int) -> Path:
        return self.folder / f"{number:06}.sum"

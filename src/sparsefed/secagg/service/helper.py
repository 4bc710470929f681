"""The helper: the second server. To devices it announces rounds, with the leader it checks reports."""

from pathlib import Path
from threading import Lock

from sparsefed.secagg.errors import Rejected
from sparsefed.secagg.field import to_bytes
from sparsefed.secagg.pine import Prepared
from sparsefed.secagg.service.ledger import ABORTED, Ledger
from sparsefed.secagg.service.rounds import Round, RoundAborted, Submission, WrongRound
from sparsefed.secagg.service.sealing import opened, own_key, public_key

__all__ = ["Helper", "Server"]


class Server:
    """What both servers have: a folder, a key to open shares with, and the books of rounds."""

    place: int
    """0 for the leader, 1 for the helper."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder, self.key, self.lock = folder, own_key(folder / "hpke.key"), Lock()
        self.books = {int(path.stem): Ledger.read(path) for path in folder.glob("*.round")}

    @property
    def sealing_key(self) -> bytes:
        """What devices seal their shares for this server with."""
        return public_key(self.key)

    def announced(self) -> Round:
        """The newest round; raises `WrongRound` before the first."""
        if not self.books:
            raise WrongRound("expected an open round, found none")
        return self.books[max(self.books)].round

    def book(self, number: int) -> Ledger:
        """The book of a round."""
        if number not in self.books:
            raise WrongRound(f"expected a known round, found {number}")
        return self.books[number]

    def open_round(self, round: Round, key: bytes) -> None:
        """Begin a round under a key that no device knows; a second time for the same one, do nothing."""
        with self.lock:
            if self.books and round.number < max(self.books):
                raise WrongRound(f"expected a round after {max(self.books)}, found {round.number}")
            path = self.folder / f"{round.number:06}.round"
            self.books[round.number] = Ledger.opened(path, round, key)

    def _book_of(self, submission: Submission) -> Ledger:
        book = self.book(submission.number)
        if book.round.task != submission.task:
            raise WrongRound(f"expected task {book.round.task!r}, found {submission.task!r}")
        return book

    def _prepared(self, book: Ledger, submission: Submission) -> Prepared:
        share = opened(self.key, self.place, submission)
        nonce = book.round.nonce(submission.device, submission.salt)
        return book.round.pine.prepare(book.key, self.place, nonce, submission.public, share)


class Helper(Server):
    """The server that holds short shares."""

    place = 1

    def check(self, submission: Submission, message: bytes) -> bytes:
        """Check a report with the leader's `message`, count it, and answer with the helper's.

        Asked again about the same report, it answers the same and does not count it again. Raises `Rejected`.
        """
        with self.lock:
            book = self._book_of(submission)
            outcome = book.known(submission)
            if book.released and outcome is None:
                raise WrongRound("expected an open round, found one whose sum is released")
            try:
                prepared = self._prepared(book, submission)
                output = book.round.pine.merge(prepared, (message, prepared.message))
            except Rejected as reason:
                if outcome is None:
                    book.reject(submission, reason)
                raise
            if outcome is None:
                book.accept(submission, output)
            return prepared.message

    def release(self, number: int, accepted: str, count: int) -> bytes:
        """The helper's share of the sum, if both servers have accepted the same reports, and enough of them.

        It is given for one set only. Raises `RoundAborted`.
        """
        with self.lock:
            book = self.book(number)
            agreed = (accepted, count) == (book.set_digest, len(book.accepted))
            if not book.released:
                enough = count >= book.round.min_batch
                book.released = book.set_digest if agreed and enough else ABORTED
                book.save()
            if book.released == ABORTED or book.released != accepted:
                raise RoundAborted("expected reports that both servers accept, found others or too few")
            return bytes(to_bytes(book.total))

    def abort(self, number: int) -> None:
        """Never release anything of a round, unless it has been released."""
        with self.lock:
            book = self.book(number)
            if not book.released:
                book.released = ABORTED
                book.save()

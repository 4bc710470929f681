"""What a round is, and how the parties write to each other about it."""

import hashlib
import json
import struct
from typing import Any, NamedTuple

from sparsefed.secagg.encoding import FixedPoint
from sparsefed.secagg.errors import Malformed, Rejected
from sparsefed.secagg.parameters import Parameters
from sparsefed.secagg.pine import NONCE, Pine

__all__ = [
    "Duplicate",
    "Late",
    "Round",
    "RoundAborted",
    "Submission",
    "WrongRound",
    "digest",
    "pack",
    "unpack",
]


class WrongRound(Rejected):
    """A report is for a round that is not open."""


class Late(Rejected):
    """A report has come after the deadline."""


class Duplicate(Rejected):
    """A device has sent another report in this round already."""


class RoundAborted(Rejected):
    """Nothing of a round is released: too few reports, or the servers do not agree which ones count."""


class Round(NamedTuple):
    """What both servers announce of a round. Devices take part only if the two agree."""

    task: str
    """The training run."""
    number: int
    dimension: int
    """d, how many numbers an update has."""
    norm: float
    """L, the ℓ2 bound on an update."""
    min_batch: int
    """The fewest reports whose sum is released."""
    deadline: float
    """When reports are no longer taken, in seconds since 1970."""
    bits: int = 24
    """Bits of the bound in fixed point."""

    @property
    def code(self) -> FixedPoint:
        """How an update is written in integers."""
        return FixedPoint(self.norm, self.bits)

    @property
    def pine(self) -> Pine:
        """The protocol with the round's parameters."""
        return Pine(Parameters(dimension=self.dimension, bound=self.code.bound))

    def nonce(self, device: str, salt: bytes) -> bytes:
        """What binds a report to task, round and device: both servers compute it for themselves."""
        words = json.dumps(["sparsefed-pine", self.task, self.number, device, salt.hex()])
        return hashlib.sha256(words.encode()).digest()[:NONCE]


class Submission(NamedTuple):
    """A device's report as it travels: shares are sealed, each for one server."""

    task: str
    number: int
    """Of the round."""
    device: str
    salt: bytes
    """16 random bytes, of which the nonce is made."""
    public: bytes
    sealed: tuple[bytes, bytes]
    """For the leader and for the helper."""

    def packed(self) -> bytes:
        """As bytes."""
        header = {"task": self.task, "number": self.number, "device": self.device}
        return pack(header, self.salt, self.public, *self.sealed)

    @classmethod
    def unpacked(cls, data: bytes) -> "Submission":
        """From bytes; raises `Malformed`."""
        header, blobs = unpack(data)
        known = {"task": str, "number": int, "device": str}
        if {name: type(value) for name, value in header.items()} != known or len(blobs) != 4:
            raise Malformed("expected task, round, device and four parts of a report, found something else")
        return cls(**header, salt=blobs[0], public=blobs[1], sealed=(blobs[2], blobs[3]))


def digest(submission: Submission) -> str:
    """A name for exactly this report, but for the leader's share, which the helper does not see."""
    parts = submission._replace(sealed=(b"", submission.sealed[1]))
    return hashlib.sha256(parts.packed()).hexdigest()


def pack(header: dict[str, Any], *blobs: bytes) -> bytes:
    """A header of plain data and any bytes, each preceded by its length."""
    parts = [json.dumps(header).encode(), *blobs]
    return b"".join(part for blob in parts for part in (struct.pack("<Q", len(blob)), blob))


def unpack(data: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """What `pack` has packed; raises `Malformed`."""
    parts, at = [], 0
    while at < len(data):
        (size,) = struct.unpack_from("<Q", data, at) if at + 8 <= len(data) else (len(data),)
        parts.append(data[at + 8 : at + 8 + size])
        at += 8 + size
    try:
        header = json.loads(parts[0]) if at == len(data) else None
    except (IndexError, ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise Malformed("expected a header and parts with their lengths, found something else")
    return header, parts[1:]

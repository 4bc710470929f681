"""A device: it takes part in a round that both servers announce, with a clipped, proven and sealed update."""

import secrets
from typing import Protocol

import numpy as np

from sparsefed.core.errors import UpdateError
from sparsefed.secagg.pine import Report
from sparsefed.secagg.service.rounds import Round, Submission
from sparsefed.secagg.service.sealing import sealed

__all__ = ["Announcing", "agreed_round", "submission"]


class Announcing(Protocol):
    """A server as devices see it."""

    def announced(self) -> Round:
        """The newest round."""
        ...

    @property
    def sealing_key(self) -> bytes:
        """What to seal a share for this server with."""
        ...


def agreed_round(leader: Announcing, helper: Announcing) -> tuple[Round, tuple[bytes, bytes]]:
    """The round, and the servers' keys, each asked of its owner: one server must not speak for the other.

    Raises `UpdateError` where the servers do not announce the same.
    """
    round, other = leader.announced(), helper.announced()
    if round._replace(deadline=0) != other._replace(deadline=0):
        raise UpdateError(f"expected two servers that announce one round, found {round} and {other}")
    return round, (leader.sealing_key, helper.sealing_key)


def submission(
    device: str,
    vector: np.ndarray,
    round: Round,
    keys: tuple[bytes, bytes],
) -> Submission:
    """A device's report of an update, `[d]`; raises `UpdateError` where a number is not finite."""
    salt = secrets.token_bytes(16)
    report = round.pine.shard(round.code.encode(vector), round.nonce(device, salt))
    return sealed_submission(device, salt, report, round, keys)


def sealed_submission(
    device: str, salt: bytes, report: Report, round: Round, keys: tuple[bytes, bytes]
) -> Submission:
    """A report with each share sealed for its server."""
    bare = Submission(round.task, round.number, device, salt, report.public, (b"", b""))
    shares = [
        sealed(share, key, i, bare) for i, (share, key) in enumerate(zip(report.shares, keys, strict=True))
    ]
    return bare._replace(sealed=(shares[0], shares[1]))

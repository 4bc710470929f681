"""Shares on their way: HPKE (RFC 9180) to the one server that may read each, bound to their report."""

import json
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from sparsefed.core.files import write_atomically
from sparsefed.secagg.errors import Malformed
from sparsefed.secagg.service.rounds import Submission

__all__ = ["opened", "own_key", "public_key", "sealed"]

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)


def own_key(path: Path) -> X25519PrivateKey:
    """A server's private key, made when it is first asked for."""
    if not path.exists():
        write_atomically(path, X25519PrivateKey.generate().private_bytes_raw())
        path.chmod(0o600)
    return X25519PrivateKey.from_private_bytes(path.read_bytes())


def public_key(key: X25519PrivateKey) -> bytes:
    """What devices seal for."""
    return key.public_key().public_bytes_raw()


def sealed(share: bytes, key: bytes, server: int, submission: Submission) -> bytes:
    """A share that only the owner of `key` can open, and only as the part of this submission that it is."""
    return _SUITE.encrypt(share, X25519PublicKey.from_public_bytes(key), _binding(server, submission))


def opened(key: X25519PrivateKey, server: int, submission: Submission) -> bytes:
    """A server's share of a submission; raises `Malformed` where it is not sealed for it."""
    try:
        return _SUITE.decrypt(submission.sealed[server], key, _binding(server, submission))
    except (InvalidTag, ValueError):
        raise Malformed("expected a share sealed for this server and report, found another") from None


def _binding(server: int, submission: Submission) -> bytes:
    words = [server, submission.task, submission.number, submission.device]
    return json.dumps([*words, submission.salt.hex(), submission.public.hex()]).encode()

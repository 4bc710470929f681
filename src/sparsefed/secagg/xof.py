"""Pseudorandom bytes from a seed: the draft's XofHmacSha256Aes128, HMAC-SHA256, then AES-128 in CTR mode."""

import hmac
from collections.abc import Iterable

import numpy as np

from sparsefed.core.errors import SparseFedError
from sparsefed.secagg.field import BYTES, Elements, Q

__all__ = ["SEED", "Usage", "Xof", "derive", "expand"]

SEED = 32
"""Bytes of a seed."""
_VERSION, _ID = 1, 0xFFFF1004
_PIECE = bytes(1 << 16)


class Usage:
    """What randomness is for; the numbers are the draft's."""

    SHARE = 1
    PROOF_SHARE = 2
    JOINT = 3
    PROVE = 4
    QUERY = 5
    JOINT_SEED = 6
    JOINT_PART = 7
    SIGNS = 8
    SIGNS_SEED = 9
    SIGNS_PART = 10


class Xof:
    """A stream of bytes that is a function of a seed, a usage and a binder."""

    def __init__(self, seed: bytes, usage: int, binder: Iterable[bytes | memoryview] = ()) -> None:
        tag = bytes([_VERSION]) + _ID.to_bytes(4, "big") + usage.to_bytes(2, "big")
        mac = hmac.new(seed, bytes([len(tag)]) + tag, "sha256")
        for part in binder:
            mac.update(part)
        key = mac.digest()
        self._stream = _ctr(key[:16], key[16:])

    def read(self, count: int) -> bytearray:
        """The next bytes."""
        out = bytearray(count + 15)  # the cipher asks for room for one more block
        view = memoryview(out)
        for start in range(0, count, len(_PIECE)):
            size = min(len(_PIECE), count - start)
            self._stream.update_into(memoryview(_PIECE)[:size], view[start : start + size + 15])
        view.release()
        del out[count:]
        return out

    def elements(self, count: int) -> Elements:
        """The next field elements: words that are not below q are skipped."""
        vector = np.frombuffer(self.read(BYTES * count), "<u8")
        while len(vector) < count or int(vector.max(initial=0)) >= Q:
            vector = vector[vector < Q]
            more = np.frombuffer(self.read(BYTES * (count - len(vector))), "<u8")
            vector = np.concatenate([vector, more])
        return vector.astype(np.uint64, copy=False)


def expand(seed: bytes, usage: int, count: int, binder: Iterable[bytes | memoryview] = ()) -> Elements:
    """Field elements from a seed."""
    return Xof(seed, usage, binder).elements(count)


def derive(seed: bytes, usage: int, binder: Iterable[bytes | memoryview]) -> bytes:
    """A seed from a seed."""
    return bytes(Xof(seed, usage, binder).read(SEED))


def _ctr(key: bytes, block: bytes):
    try:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    except ImportError:
        needed = "`cryptography`: pip install 'sparsefed[secagg]'"
        raise SparseFedError(f"secure aggregation: expected the package {needed}, found none") from None
    return Cipher(algorithms.AES(key), modes.CTR(block)).encryptor()

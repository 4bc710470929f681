"""A checksum inside the file that it covers, so that one flipped bit is noticed.

A file is written with sixteen zeros as the value of its first key `checksum`, which are then replaced by the
first sixteen hexadecimal digits of the SHA-256 of the whole.
"""

import hashlib
import re

__all__ = ["UNSEALED", "intact", "sealed"]

UNSEALED = "0" * 16
"""The value of `checksum` in what is handed to `sealed`."""

_SEAL = re.compile(rb'"checksum": ?"([0-9a-f]{16})"')


def sealed(content: bytes) -> bytes:
    """`content` with its checksum in place of the zeros."""
    return content.replace(UNSEALED.encode(), _digest(content), 1)


def intact(content: bytes) -> bool:
    """Whether `content` is what `sealed` returned, to the bit."""
    seal = _SEAL.search(content)
    if seal is None:
        return False
    view = memoryview(content)  # a checkpoint is large: no copies
    return _digest(view[: seal.start(1)], UNSEALED.encode(), view[seal.end(1) :]) == seal[1]


def _digest(*parts: bytes | memoryview) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16].encode()

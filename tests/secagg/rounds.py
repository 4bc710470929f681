"""One report through both aggregators, for small parameters."""

import numpy as np

from sparsefed.secagg import Parameters, Pine, Report
from sparsefed.secagg.field import add, centered

KEY, NONCE = bytes(range(32)), bytes(range(100, 116))


def small(**changes: int) -> Parameters:
    """Parameters of quick proofs; 100 checks, as always, unless told otherwise."""
    return Parameters(**{"dimension": 10, "bound": 1 << 12, "chunk": 64, **changes})


def random(seed: int) -> bytes:
    return np.random.default_rng(seed).bytes(7 * 32)


def accepted(pine: Pine, report: Report, nonce: bytes = NONCE) -> np.ndarray:
    """The vector that both aggregators add up; raises `Rejected` if one of them refuses."""
    prepared = [pine.prepare(KEY, i, nonce, report.public, report.shares[i]) for i in range(2)]
    messages = prepared[0].message, prepared[1].message
    return centered(add(*(pine.merge(mine, messages) for mine in prepared)))

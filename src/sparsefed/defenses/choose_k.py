"""Choosing k (Appendix B.1.5, Algorithm 11): the smallest k whose top k lose little of a gradient's ℓ1 mass.

The listing compares an absolute ℓ1 loss with a fraction, starts at d/d and scans upwards in steps of d/r
although the text says binary search. Here the loss is relative, the search is binary and exact, and the
scan from d/r in steps of d/r is kept as `scanned_k`.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from sparsefed.core.errors import SpecError
from sparsefed.core.types import Vector

__all__ = ["Choice", "least_k", "loss_curve", "scanned_k"]


class Choice(NamedTuple):
    """A k for one model and its clients, and what it loses."""

    k: int
    """The smallest k that loses at most `max_loss`."""
    loss: float
    """ω_k, the share of the ℓ1 mass that it loses."""
    scanned_k: int
    """What the listing's scan in steps of d/r finds."""
    scanned_loss: float
    max_loss: float
    params: int
    """d."""
    clients: int
    """How many clients' updates were looked at."""

    @classmethod
    def of(cls, curve: np.ndarray, max_loss: float, clients: int, rounds_per_epoch: int) -> "Choice":
        """The choice for a loss curve, which is of so many clients."""
        k, scanned = least_k(curve, max_loss), scanned_k(curve, max_loss, rounds_per_epoch)
        return cls(k, float(curve[k]), scanned, float(curve[scanned]), max_loss, len(curve) - 1, clients)


def loss_curve(gradients: Iterable[Vector]) -> np.ndarray:
    """ω_k for k = 0 … d: the mean over `gradients` of ‖g − top_k(g)‖₁ / ‖g‖₁, never increasing.

    All k at once: one sort and one running sum per gradient. A gradient of zeros loses nothing.
    """
    total, count = np.zeros(1), 0
    for gradient in gradients:
        kept = gradient.abs().double().sort(descending=True).values.cumsum(0).cpu().numpy()
        if not np.isfinite(kept[-1]):
            raise SpecError(f"choosing k: expected finite gradients, found one at place {count} that is not")
        lost = 1 - kept / kept[-1] if kept[-1] > 0 else np.zeros(len(kept))
        total = total + np.concatenate([[float(kept[-1] > 0)], lost])
        count += 1
    if count == 0:
        raise SpecError("choosing k: expected at least 1 gradient, found 0")
    return total / count


def least_k(curve: np.ndarray, max_loss: float) -> int:
    """The smallest k ≥ 1 that loses at most `max_loss`, found by binary search."""
    _check(max_loss)
    return max(1, int(np.searchsorted(-curve, -max_loss)))


def scanned_k(curve: np.ndarray, max_loss: float, rounds_per_epoch: int) -> int:
    """The listing's answer: the first of d/r, 2d/r, 3d/r … that loses at most `max_loss`, at most d."""
    _check(max_loss)
    size = len(curve) - 1
    step = max(1, size // rounds_per_epoch)
    k = step
    while k < size and curve[k] > max_loss:
        k += step
    return min(k, size)


def _check(max_loss: float) -> None:
    if not 0 <= max_loss < 1:
        raise SpecError(f"choosing k: expected 0 ≤ max_loss < 1, found {max_loss}")

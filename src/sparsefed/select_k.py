"""Choosing k (Appendix B.1.5, Algorithm 11): the least k whose top k lose little of a gradient's ℓ1 mass.

The listing compares an absolute ℓ1 loss with a fraction, starts at d/d and scans upwards in steps of d/r
although the text says binary search. Here the loss is relative, the search is binary and exact, and the
scan from d/r in steps of d/r is kept as `scanned_k`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparsefed.errors import SpecError
from sparsefed.files import readable_errors
from sparsefed.seeds import Stream, rng
from sparsefed.types import Matrix, Vector

if TYPE_CHECKING:
    from sparsefed.federation import Federation

__all__ = ["Choice", "choose_k", "client_updates", "least_k", "loss_curve", "plot_loss", "scanned_k"]


class Choice(NamedTuple):
    """A k for one model and its clients, and what it loses."""

    k: int
    """The least k that loses at most `max_loss`."""
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


def choose_k(fed: "Federation", max_loss: float, clients: int = 20, picture: Path | None = None) -> Choice:
    """Algorithm 11 on the updates of some honest clients at the initial model; draws the curve if asked."""
    curve = loss_curve(client_updates(fed, clients))
    if picture is not None:
        plot_loss(curve, max_loss, picture)
    return Choice.of(curve, max_loss, clients, fed.rounds_per_epoch)


def loss_curve(gradients: Iterable[Vector]) -> np.ndarray:
    """ω_k for k = 0 … d: the mean over `gradients` of ‖g − top_k(g)‖₁ / ‖g‖₁, never increasing.

    All k at once: one sort and one running sum per gradient. A gradient of zeros loses nothing.
    """
    total, count = np.zeros(1), 0
    for gradient in gradients:
        kept = gradient.abs().double().sort(descending=True).values.cumsum(0).cpu().numpy()
        if not np.isfinite(kept[-1]):
            raise SpecError(f"choosing k needs finite gradients, the one at place {count} is not")
        lost = 1 - kept / kept[-1] if kept[-1] > 0 else np.zeros(len(kept))
        total = total + np.concatenate([[float(kept[-1] > 0)], lost])
        count += 1
    if count == 0:
        raise SpecError("choosing k needs at least 1 gradient, got 0")
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


def client_updates(fed: "Federation", clients: int, params: Vector | None = None) -> Matrix:
    """The updates of some honest clients, drawn by the seed, at `params` (the initial model if not given)."""
    from sparsefed.clients import Work

    honest = np.flatnonzero(~fed.compromised)
    if not 0 < clients <= len(honest):
        raise SpecError(f"choosing k needs 1 to {len(honest)} clients to sample, found {clients}")
    chosen = rng(fed.spec.seed, Stream.PROBE).choice(honest, clients, replace=False)
    params = fed.initial_state.params if params is None else params
    lr = fed.spec.schedule.lr(1, fed.spec.rounds)
    work = Work(fed.network, params, fed.local_data(chosen, 1), lr, fed.spec.seed, 1)
    return fed.spec.clients.updates(work).rows()


def plot_loss(curve: np.ndarray, max_loss: float, path: Path) -> None:
    """The loss against k, with the choice marked; `path` names the format."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    k = np.unique(np.geomspace(1, len(curve) - 1, 500).astype(int))
    chosen = least_k(curve, max_loss)
    panel = figure.subplots()
    panel.plot(k, curve[k], lw=2)
    panel.axhline(max_loss, color="gray", lw=1, ls="--")
    panel.axvline(chosen, color="gray", lw=1, ls="--")
    panel.set(xscale="log", xlabel="k", ylabel="share of the ℓ1 mass lost", ylim=(0, 1))
    panel.set_title(f"k = {chosen:,} of {len(curve) - 1:,} loses {curve[chosen]:.3f}")
    panel.grid(alpha=0.3)
    with readable_errors(path):
        figure.savefig(path, dpi=130)


def _check(max_loss: float) -> None:
    if not 0 <= max_loss < 1:
        raise SpecError(f"choosing k needs 0 ≤ max_loss < 1, found {max_loss}")

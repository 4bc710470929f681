"""Looking at honest clients before training: their updates at one model, and the k that these suggest."""

import numpy as np

from sparsefed.clients import Work
from sparsefed.core.errors import SpecError
from sparsefed.core.seeds import Stream, rng
from sparsefed.core.types import Matrix, Vector
from sparsefed.defenses.choose_k import Choice, loss_curve
from sparsefed.federation.round import Federation

__all__ = ["choose_k", "client_updates"]


def choose_k(fed: Federation, max_loss: float, clients: int = 20) -> Choice:
    """Algorithm 11 on the updates of some honest clients at the initial model."""
    curve = loss_curve(client_updates(fed, clients))
    return Choice.of(curve, max_loss, clients, fed.rounds_per_epoch)


def client_updates(fed: Federation, clients: int, params: Vector | None = None) -> Matrix:
    """The updates of some honest clients, drawn by the seed, at `params` (the initial model if not given)."""
    honest = np.flatnonzero(~fed.compromised)
    if not 0 < clients <= len(honest):
        raise SpecError(f"choosing k: expected 1 to {len(honest)} clients to sample, found {clients}")
    chosen = rng(fed.spec.seed, Stream.PROBE).choice(honest, clients, replace=False)
    params = fed.initial_state.params if params is None else params
    lr = fed.spec.schedule.lr(1, fed.spec.rounds)
    work = Work(fed.network, params, fed.local_data(chosen, 1), lr, fed.spec.seed, 1)
    return fed.spec.clients.updates(work).rows()

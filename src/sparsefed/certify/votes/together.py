"""The rounds of many groups at once: their clients as one stack, each at the model of its own group."""

from collections.abc import Sequence

import numpy as np
import torch

from sparsefed.clients import FedAvg, Gradient, LocalData, Work
from sparsefed.clients.stacked import LocalTraining, Stacked
from sparsefed.clients.trust import fastest_training
from sparsefed.core.errors import UpdateError, named
from sparsefed.core.seeds import Stream, seeded
from sparsefed.core.text import amount
from sparsefed.core.types import Vector
from sparsefed.federation.checks import next_memory, number, rule_step
from sparsefed.federation.round import Federation, ServerState
from sparsefed.protocol.updates import Dense

__all__ = ["stackable", "trained_together"]


def stackable(fed: Federation) -> LocalTraining | None:
    """How clients of the federation train in a stack; None where the loop is faster or alone is right."""
    clients = fed.spec.clients
    if type(clients) is Gradient:  # one step of rate 1 on all examples goes down by the gradient
        training = FedAvg(local_lr=1.0, weight_decay=clients.weight_decay)
    elif type(clients) is FedAvg:
        training = clients
    else:
        return None
    two = np.arange(min(2, len(fed.population)))
    work = Work(
        fed.network, fed.initial, fed.local_data(two, 1), fed.spec.schedule.lr(1, fed.spec.rounds), 0, 1
    )
    return training if isinstance(fastest_training(work, training, training.one), Stacked) else None


def trained_together(feds: Sequence[Federation], training: LocalTraining) -> list[Vector]:
    """θ of each federation after all rounds; they differ in their clients alone."""
    states = [fed.initial_state for fed in feds]
    for _ in range(feds[0].spec.rounds):
        states = _round(feds, states, training)
    return [state.params for state in states]


def _round(
    feds: Sequence[Federation], states: Sequence[ServerState], training: LocalTraining
) -> list[ServerState]:
    spec, t = feds[0].spec, states[0].round + 1
    lr = number(spec.schedule, "lr", spec.schedule.lr(t, spec.rounds))
    with seeded(spec.seed, Stream.ROUND, t):
        data = [fed.local_data(fed.cohort(t), t) for fed in feds]
        counts = [len(part.sizes) for part in data]
        starts = torch.stack([state.params for state in states])
        starts = starts.repeat_interleave(torch.tensor(counts, device=starts.device), 0)
        work = Work(feds[0].network, states[0].params, _joined(data), lr, spec.seed, t)
        rows = Stacked(work, training, starts=starts).rows().split(counts)
        return [_served(*own, lr) for own in zip(feds, states, map(Dense, rows), strict=True)]


def _served(fed: Federation, state: ServerState, sent: Dense, lr: float) -> ServerState:
    """The server's half of a round of honest clients."""
    spec = fed.spec
    clip_norm = number(spec.clip, "norm_at", spec.clip.norm_at(lr, state.clip))
    state = state._replace(round=state.round + 1)
    try:
        server_lr = spec.clients.server_lr(lr)
        delta, memory = rule_step(
            spec.defense, sent.admitted(clip_norm), state.memory, server_lr, state.params
        )
    except UpdateError:  # the round is lost, as in `run_round`; the first means that the rule cannot work
        if state.round > 1:
            return state
        with named(f"a group of {amount(len(fed.population), 'client')}"):
            raise
    clip = next_memory(spec.clip, state.clip, spec.clip.next(state.clip, sent.norms()))
    return state._replace(params=fed.moved(state.params, delta, lr), memory=memory, clip=clip)


def _joined(parts: Sequence[LocalData]) -> LocalData:
    """The clients of several groups, one group after the other."""
    return LocalData(
        np.concatenate([part.clients for part in parts]),
        torch.cat([part.inputs for part in parts]),
        torch.cat([part.labels for part in parts]),
        np.concatenate([part.sizes for part in parts]),
    )

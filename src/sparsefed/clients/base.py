"""𝒢: what honest clients do with the model and their data."""

from abc import abstractmethod
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sparsefed.core.spec import Spec
from sparsefed.core.types import ClientIds, Vector
from sparsefed.models.network import Network
from sparsefed.protocol.updates import Updates

__all__ = ["Clients", "LocalData", "Work"]


class LocalData(NamedTuple):
    """The examples of some clients, one client after the other."""

    clients: ClientIds
    inputs: Tensor
    """`[examples, ...]`, ready for the network."""
    labels: Tensor
    """`[examples]` or `[examples, length]`."""
    sizes: np.ndarray
    """How many examples each client has, `[clients]`; always positive."""

    def of(self, keep: np.ndarray) -> "LocalData":
        """The part of the clients where the mask `keep` is true."""
        if keep.all():
            return self
        examples = torch.from_numpy(np.flatnonzero(np.repeat(keep, self.sizes))).to(self.inputs.device)
        inputs, labels = (rows.index_select(0, examples) for rows in (self.inputs, self.labels))
        return LocalData(self.clients[keep], inputs, labels, self.sizes[keep])


class Work(NamedTuple):
    """The orders of one round to its honest clients."""

    network: Network
    params: Vector
    """θ, where they all start."""
    data: LocalData
    lr: float
    """λ(t)."""
    seed: int
    """Of the experiment; with the round and the client it decides what a client draws."""
    round: int


class Clients(Spec, family=True):
    """How an honest client turns the model and its data into an update u = θ − θᵢ."""

    @abstractmethod
    def updates(self, work: Work) -> Updates:
        """The updates of the clients in `work.data`, computed when asked for."""

    @abstractmethod
    def server_lr(self, lr: float) -> float:
        """What the server multiplies with, given λ(t): 1 where the clients have applied λ already."""

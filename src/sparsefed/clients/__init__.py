"""𝒢: the gradient oracle. The literal loop is the reference; faster engines must agree with it."""

from sparsefed.clients.base import Clients, LocalData, Work
from sparsefed.clients.fedavg import FedAvg
from sparsefed.clients.gradient import Gradient

__all__ = ["Clients", "FedAvg", "Gradient", "LocalData", "Work"]

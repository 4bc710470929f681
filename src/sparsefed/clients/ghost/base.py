"""What a layer must be able to say about its clients' gradients for a cohort to go through in one pass.

A layer's weight gradient is a product of what it read (x) and the gradient at what it wrote (dy), so
a client's part of it can be measured, and summed with the clip's factors, without being formed
(Goodfellow, 2015; Rochette et al., 2019).
"""

from abc import ABC, abstractmethod
from typing import Any, TypeAlias

from torch import Tensor, nn

from sparsefed.types import PerClient

__all__ = ["Gradients", "Layer", "squared_norms"]

Gradients: TypeAlias = dict[nn.Parameter, Tensor]
"""Where each parameter's gradient goes: shaped like it, with a leading axis of clients for rows."""


class Layer(ABC):
    """One call of a module inside a pass over `clients` clients of equally many examples each.

    Examples of a client stand together, client after client, along the first axis of x and dy.
    """

    def __init__(self, module: Any, x: Tensor, clients: int) -> None:
        self.module, self.x, self.clients = module, x.detach(), clients
        self.y: Tensor | None = None

    @abstractmethod
    def measure(self, dy: Tensor) -> PerClient:
        """‖gᵢ‖² of the layer's parameters for every client; keeps what `add` will need."""

    def inner(self, dy: Tensor) -> PerClient:
        """⟨gᵢ, θ⟩ over the layer's parameters: Σ dy·y of a layer whose output y is linear in them."""
        y = self.module.forward(self.x) if self.y is None else self.y
        return (dy * y).sum(tuple(range(1, dy.ndim))).view(self.clients, -1).sum(1)

    @abstractmethod
    def add(self, factors: PerClient, sums: Gradients) -> None:
        """Add Σ factorᵢ gᵢ to `sums`, after `measure`."""

    @abstractmethod
    def write(self, dy: Tensor, rows: Gradients) -> None:
        """Write every client's gradient into `rows`."""


def squared_norms(gradients: Tensor) -> PerClient:
    """‖gᵢ‖² of `[clients, ...]` gradients."""
    flat = gradients.flatten(1)
    return (flat * flat).sum(1)

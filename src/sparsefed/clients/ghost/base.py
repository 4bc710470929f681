"""What a layer must be able to say about its clients' gradients for a cohort to go through in one pass.

A layer's weight gradient is a product of what it read (x) and the gradient at what it wrote (dy), so
a client's part of it can be measured, and summed with the clip's factors, without being formed
(Goodfellow, 2015; Rochette et al., 2019).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from torch import Tensor, nn

from sparsefed.core.types import PerClient
from sparsefed.kernels import row_squares

__all__ = [
    "Layer",
    "Outer",
    "Rows",
    "Shared",
    "Sums",
    "UnsupportedError",
    "Visitor",
    "Words",
    "inner_products",
    "squared_norms",
]

Sums: TypeAlias = dict[nn.Parameter, Tensor]
"""Where each parameter's share of the clipped sum is gathered."""


class UnsupportedError(Exception):
    """A pass met something that it cannot take apart by client; another way has to be taken."""


class Rows:
    """Where each parameter's gradient of every client goes, `[clients, *shape]` each."""

    def __init__(self, views: dict[nn.Parameter, Tensor]) -> None:
        self.views = views
        self.begun: set[nn.Parameter] = set()

    def put(self, parameter: nn.Parameter, gradients: Tensor) -> None:
        """Write the gradients of one use of a parameter, or add them to those of an earlier use."""
        view = self.views[parameter]
        view.add_(gradients) if self.keeps(parameter) else view.copy_(gradients)

    def keeps(self, parameter: nn.Parameter) -> int:
        """1 if what stands there must be kept and added to; 0 at a parameter's first use."""
        known = parameter in self.begun
        self.begun.add(parameter)
        return int(known)

    def finish(self) -> None:
        """Parameters that the pass did not meet have no gradient."""
        for parameter in self.views.keys() - self.begun:
            self.views[parameter].zero_()


class Outer(NamedTuple):
    """Every client's gradient of a parameter as Σₜ leftₜ ⊗ rightₜ."""

    left: Tensor
    """`[clients, rows, units]`."""
    right: Tensor
    """`[clients, rows, fan_in]`."""


class Words(NamedTuple):
    """Every client's gradient of an embedding, as the words that stood there and the gradients at them."""

    words: Tensor
    """Integers, `[clients, rows]`."""
    right: Tensor
    """`[clients, rows, fan_in]`."""


Shared: TypeAlias = Outer | Words | Tensor
"""The gradients of a parameter, or the gradients themselves, `[clients, units, fan_in]`, where formed."""


class Layer(ABC):
    """One call of a module inside a pass over `clients` clients of equally many examples each.

    Examples of a client stand together, client after client, along the first axis of x and dy.
    """

    y: Tensor | None = None
    """The layer's output, where `inner` will be asked for."""

    def __init__(self, module: Any, x: Tensor, clients: int) -> None:
        self.module, self.x, self.clients = module, x.detach(), clients

    def parameters(self) -> list[nn.Parameter]:
        """The parameters that the call used."""
        return list(self.module.parameters(recurse=False))

    @abstractmethod
    def measure(self, dy: Tensor) -> PerClient:
        """‖gᵢ‖² of the layer's parameters for every client; keeps what `add` will need."""

    @abstractmethod
    def add(self, factors: PerClient, sums: Sums) -> None:
        """Add Σ factorᵢ gᵢ to `sums`, after `measure`."""

    @abstractmethod
    def write(self, dy: Tensor, rows: Rows) -> None:
        """Write every client's gradient into `rows`."""

    def inner(self, dy: Tensor) -> PerClient:
        """⟨gᵢ, θ⟩ over the layer's parameters: Σ dy·y, as the output y is linear in them."""
        y = self.module.forward(self.x) if self.y is None else self.y
        return (dy * y).sum(tuple(range(1, dy.ndim))).view(self.clients, -1).sum(1)

    def shared(self, parameter: nn.Parameter) -> Shared:
        """The gradients of a parameter that other calls use too, after `measure`."""
        raise UnsupportedError(f"{type(self.module).__name__} shares a parameter")

    def per_client(self, tensor: Tensor) -> Tensor:
        """`[examples, ..., features]` as `[clients, rows, features]`."""
        return tensor.reshape(self.clients, -1, tensor.shape[-1])


Visitor: TypeAlias = Callable[[Layer, Tensor], None]
"""Called once per layer, last layer first, with the gradient at the layer's output."""


def squared_norms(gradients: Tensor) -> PerClient:
    """‖gᵢ‖² of `[clients, ...]` gradients."""
    return row_squares(gradients.flatten(1)).to(gradients)


def inner_products(first: Tensor, second: Tensor) -> PerClient:
    """⟨aᵢ, bᵢ⟩ of every client, of `[clients, ...]`; of Gram matrices of x and dy it is ‖Σₜ dyₜ xₜᵀ‖².

    PyTorch's `sum` adds up in pairs and keeps its digits; its dot products do not.
    """
    return (first * second).flatten(1).sum(1)

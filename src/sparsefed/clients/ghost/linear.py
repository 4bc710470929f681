"""A linear layer: gᵢ = Σₜ dyₜ xₜᵀ over all rows t of client i, whatever the axes between."""

from typing import Any

from torch import Tensor

from sparsefed.clients.ghost.affine import Affine
from sparsefed.clients.ghost.base import Layer
from sparsefed.core.types import PerClient

__all__ = ["LinearLayer"]


class LinearLayer(Affine):
    """The plainest affine map, z = W x + b."""

    def __init__(self, module: Any, x: Tensor, clients: int) -> None:
        biases = [] if module.bias is None else [module.bias]
        super().__init__(module, x, clients, [module.weight], biases)

    def inner(self, dy: Tensor) -> PerClient:
        return Layer.inner(self, dy)  # its output is z itself, and may have been kept

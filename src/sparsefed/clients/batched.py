"""The whole cohort in a few passes: every client's norm and the clipped sum, without a gradient per client.

At τ = 1 all honest clients share θ, and a client's clip depends on the client alone. So clients go
through the network in chunks; a chunk tells every client's norm, then the sum of its clipped gradients.
"""

import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sparsefed.clients.base import Work
from sparsefed.clients.chunks import Chunk, chunk_of, cuts
from sparsefed.clients.ghost.base import Layer, Rows, Sums, Visitor
from sparsefed.clients.ghost.tape import ghost_pass
from sparsefed.clients.ghost.tied import cross_terms
from sparsefed.core.types import Matrix, PerClient, Vector
from sparsefed.kernels import norm_of
from sparsefed.protocol.updates import clip_factors

__all__ = ["Batched", "Engine"]


class Engine(NamedTuple):
    """How a chunk goes through a network."""

    run: Callable[[nn.Module, Chunk, Visitor, bool], None] = ghost_pass
    examples: int = 100
    """Most examples of a chunk: bounds the memory, and changes results by rounding only."""
    alone: int = sys.maxsize
    """A client of more examples is faster by itself, outside of the engine."""
    channels_last: bool = False
    """Whether images and the weights of convolutions are laid out with channels last."""


class Batched:
    """A source of updates uᵢ = gᵢ + wd·θ, gᵢ the gradient of a client's mean loss."""

    def __init__(self, work: Work, weight_decay: float = 0.0, engine: Engine | None = None) -> None:
        self.work, self.weight_decay, self.engine = work, weight_decay, engine or Engine()
        self.count, self.size = len(work.data.sizes), work.network.size

    @torch.no_grad()
    def reduce(self, clip_norm: float) -> tuple[PerClient, Vector]:
        params, network = self.work.params, self.work.network
        norms, total = params.new_zeros(self.count), params.new_zeros(self.size)
        weight = params.new_zeros(())
        network.bind(params)
        sums = self._sums(network.views(total))
        sizes = self.work.data.sizes
        for clients in cuts(sizes, np.argsort(sizes, kind="stable"), self.engine.examples):
            norms[clients], factors = self._reduce(clients, clip_norm, sums)
            weight += factors
        if self.engine.channels_last:
            for parameter, view in zip(network.parameters, network.views(total), strict=True):
                if view.ndim == 4:
                    view.copy_(sums[parameter])
            network.bind(params)
        if self.weight_decay:
            total += self.weight_decay * weight * params
        return norms, total

    def _reduce(self, clients: np.ndarray, clip_norm: float, sums: Sums) -> tuple[PerClient, Tensor]:
        """Norms of some clients, and Σ of their clip factors after adding their gradients to `sums`."""
        layers: list[Layer] = []
        squares: list[Tensor] = []

        def measure(layer: Layer, dy: Tensor) -> None:
            if self.weight_decay:  # ‖g + wd·θ‖² = ‖g‖² + 2 wd ⟨g, θ⟩ + wd² ‖θ‖²
                squares.append(2 * self.weight_decay * layer.inner(dy))
            squares.append(layer.measure(dy))
            layers.append(layer)

        self._run(clients, measure)
        squares += cross_terms(layers)
        if self.weight_decay:
            decay = self.weight_decay * norm_of(self.work.params).to(self.work.params)
            squares.append(decay.square().expand(len(clients)))
        norms = torch.stack(squares).sum(0).clamp(min=0).sqrt()
        finite = norms.isfinite().cpu().numpy()
        if not finite.all():  # 0 · NaN would taint the others' sum
            layers.clear()
            nothing = norms.new_zeros(())
            return norms, self._reduce(clients[finite], clip_norm, sums)[1] if finite.any() else nothing
        factors = clip_factors(norms, clip_norm)
        for layer in layers:
            layer.add(factors, sums)
        return norms, factors.sum()

    @torch.no_grad()
    def rows(self) -> Matrix:
        params, network = self.work.params, self.work.network
        matrix = params.new_empty(self.count, self.size)
        network.bind(params)
        for clients in cuts(self.work.data.sizes, np.arange(self.count), self.engine.examples):
            views = network.views(matrix[clients[0] : clients[-1] + 1])
            rows = Rows(dict(zip(network.parameters, views, strict=True)))
            self._run(clients, lambda layer, dy, rows=rows: layer.write(dy, rows))
            rows.finish()
        if self.weight_decay:
            matrix += self.weight_decay * params
        return matrix

    def _run(self, clients: np.ndarray, visit: Visitor) -> None:
        chunk = chunk_of(self.work.data, clients)
        if self.engine.channels_last and chunk.inputs.ndim == 4:
            # `to`, not `contiguous`: a single channel would count as first and last, and stay first
            chunk = chunk._replace(inputs=chunk.inputs.to(memory_format=torch.channels_last))
        self.engine.run(self.work.network.module, chunk, visit, self.weight_decay > 0)

    def _sums(self, views: list[Tensor]) -> Sums:
        """Zeros for every parameter: views of the total, or apart where the layout differs."""
        parameters = self.work.network.parameters
        sums: Sums = dict(zip(parameters, views, strict=True))
        if self.engine.channels_last:  # once per round, not in every call of a convolution
            for parameter in parameters:
                if parameter.ndim == 4:
                    parameter.data = parameter.data.to(memory_format=torch.channels_last)
                    sums[parameter] = torch.zeros_like(parameter)
        return sums

"""The whole cohort in one pass: every client's norm and the clipped sum, without a gradient per client."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sparsefed.clients.base import Work
from sparsefed.clients.ghost.base import Gradients, Layer
from sparsefed.clients.ghost.tape import run_pass
from sparsefed.network import IGNORED
from sparsefed.types import Matrix, PerClient, Vector
from sparsefed.updates import clip_factors

__all__ = ["Batched"]

CLIENTS_PER_CHUNK = 20
"""Bounds the memory of a pass; a client's clip depends on the client alone, so any cut is as good."""
PADDING = 1.5
"""Most examples of a chunk, with the repeated ones, over those without."""


class Chunk(NamedTuple):
    """Some clients with equally many examples each; those short of examples repeat one, unlabelled."""

    clients: np.ndarray
    """Positions in the cohort."""
    inputs: Tensor
    labels: Tensor


class Batched:
    """A source of updates u = g + wd·θ that takes the cohort through the network in chunks of clients."""

    def __init__(self, work: Work, weight_decay: float = 0.0, per_chunk: int = CLIENTS_PER_CHUNK) -> None:
        self.work, self.weight_decay, self.per_chunk = work, weight_decay, per_chunk
        self.count, self.size = len(work.data.sizes), work.network.size

    @torch.no_grad()
    def reduce(self, clip_norm: float) -> tuple[PerClient, Vector]:
        params, network = self.work.params, self.work.network
        norms, total = params.new_zeros(self.count), params.new_zeros(self.size)
        network.bind(params)
        sums = _accumulators(network.parameters, network.views(total))
        weight = params.new_zeros(())
        for clients in self._cuts(np.argsort(self.work.data.sizes, kind="stable")):
            norms[clients], chunk_weight = self._reduce(clients, clip_norm, sums)
            weight += chunk_weight
        for parameter, view in zip(network.parameters, network.views(total), strict=True):
            if sums[parameter].data_ptr() != view.data_ptr():
                view.copy_(sums[parameter])
        network.bind(params)
        if self.weight_decay:
            total += self.weight_decay * weight * params
        return norms, total

    def _reduce(self, clients: np.ndarray, clip_norm: float, sums: Gradients) -> tuple[PerClient, Tensor]:
        """Norms of some clients, and Σ of their clip factors after adding their gradients to `sums`."""
        layers: list[Layer] = []
        squares: list[Tensor] = []

        def measure(layer: Layer, dy: Tensor) -> None:
            layers.append(layer)
            squares.append(layer.measure(dy))
            if self.weight_decay:
                squares.append(2 * self.weight_decay * layer.inner(dy))

        self._pass(self._chunk(clients), measure)
        if self.weight_decay:
            squares.append((self.weight_decay * self.work.params).square().sum().expand(len(clients)))
        norms = torch.stack(squares).sum(0).clamp(min=0).sqrt()
        finite = norms.isfinite().cpu().numpy()
        if not finite.all():  # 0 · NaN would taint the others' sum
            layers.clear()
            weight = (
                self._reduce(clients[finite], clip_norm, sums)[1] if finite.any() else norms.new_zeros(())
            )
            return norms, weight
        factors = clip_factors(norms, clip_norm)
        for layer in layers:
            layer.add(factors, sums)
        return norms, factors.sum()

    @torch.no_grad()
    def rows(self) -> Matrix:
        network = self.work.network
        matrix = self.work.params.new_zeros(self.count, self.size)
        network.bind(self.work.params)
        for clients in self._cuts(np.arange(self.count)):
            part = matrix[clients[0] : clients[-1] + 1]
            rows = dict(zip(network.parameters, network.views(part), strict=True))
            self._pass(self._chunk(clients), lambda layer, dy, rows=rows: layer.write(dy, rows))
        if self.weight_decay:
            matrix += self.weight_decay * self.work.params
        return matrix

    def _pass(self, chunk: Chunk, visit) -> None:
        run_pass(self.work.network.module, chunk, visit, keep_outputs=self.weight_decay > 0)

    def _cuts(self, order: np.ndarray) -> Iterator[np.ndarray]:
        """`order` cut into runs of clients of similar sizes."""
        sizes, start = self.work.data.sizes[order], 0
        for end in range(1, len(order) + 1):
            run = sizes[start : end + 1]
            if len(run) > self.per_chunk or end == len(order) or len(run) * run.max() > PADDING * run.sum():
                yield order[start:end]
                start = end

    def _chunk(self, clients: np.ndarray) -> Chunk:
        data = self.work.data
        sizes, starts = data.sizes[clients], (np.cumsum(data.sizes) - data.sizes)[clients]
        places = np.arange(sizes.max())
        missing = places >= sizes[:, None]
        examples = torch.from_numpy(starts[:, None] + np.where(missing, 0, places)).to(data.labels.device)
        inputs, labels = data.inputs[examples.flatten()], data.labels[examples.flatten()]
        if missing.any():
            labels[torch.from_numpy(missing.ravel()).to(labels.device)] = IGNORED
        if inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        return Chunk(clients, inputs, labels)


def _accumulators(parameters: list, views: list[Tensor]) -> Gradients:
    """A zero per parameter: a view of the total, or apart where the layout differs.

    Convolutions compute with channels last; their weights are laid out so once per round, not per call.
    """
    sums: Gradients = dict(zip(parameters, views, strict=True))
    for parameter in parameters:
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
            sums[parameter] = torch.zeros_like(parameter)
    return sums

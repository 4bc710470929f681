"""One forward and backward pass over several clients, in which every layer tells its clients' part."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import functional

from sparsefed.clients.chunks import Chunk
from sparsefed.clients.ghost.base import Layer, UnsupportedError, Visitor
from sparsefed.clients.ghost.conv import ConvLayer, TransposedConvLayer
from sparsefed.clients.ghost.embedding import EmbeddingLayer
from sparsefed.clients.ghost.linear import LinearLayer
from sparsefed.clients.ghost.norm import (
    BatchNormLayer,
    GroupNormLayer,
    InstanceNormLayer,
    LayerNormLayer,
    RMSNormLayer,
)
from sparsefed.clients.ghost.recurrent import RECURRENT, unrolled
from sparsefed.models.network import IGNORED

__all__ = ["LAYERS", "ghost_pass", "total_loss"]

LAYERS: dict[type[nn.Module], type[Layer]] = {
    nn.Linear: LinearLayer,
    nn.Embedding: EmbeddingLayer,
    **dict.fromkeys((nn.Conv1d, nn.Conv2d), ConvLayer),
    **dict.fromkeys((nn.ConvTranspose1d, nn.ConvTranspose2d), TransposedConvLayer),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), BatchNormLayer),
    **dict.fromkeys((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), InstanceNormLayer),
    nn.GroupNorm: GroupNormLayer,
    nn.LayerNorm: LayerNormLayer,
    nn.RMSNorm: RMSNormLayer,
}
"""Who speaks for which module, beside recurrent ones; exact types, as a subclass may compute otherwise."""


def ghost_pass(module: nn.Module, chunk: Chunk, visit: Visitor, keep_outputs: bool = False) -> None:
    """Back-propagate the sum of the clients' mean losses and let `visit` see every layer.

    Parameters get no gradient here: only the gradients at the layers' outputs are computed. Raises
    `UnsupportedError` where a module's parameters are none of the layers' above.
    """
    tape = _Tape(len(chunk.clients), visit, keep_outputs)
    with torch.enable_grad():
        with tape.listening(module):
            logits = module(chunk.inputs)
        loss = total_loss(logits, chunk.labels, len(chunk.clients))
    torch.autograd.grad(loss, tape.firsts)


def total_loss(logits: Tensor, labels: Tensor, clients: int) -> Tensor:
    """Σ over clients of the mean cross entropy over the client's labels that are not `IGNORED`."""
    losses = functional.cross_entropy(
        logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORED, reduction="none"
    )
    counted = (labels.view(clients, -1) != IGNORED).to(losses)
    weights = counted / counted.sum(1, keepdim=True).clamp(min=1)
    return losses.dot(weights.flatten())


class _Tape:
    """Listens to a module's layers while it computes, and to their gradients afterwards."""

    def __init__(self, clients: int, visit: Visitor, keep_outputs: bool) -> None:
        self.clients, self.visit, self.keep_outputs = clients, visit, keep_outputs
        self.firsts: list[GradientEdge] = []
        """Where gradients end: outputs of layers that read no other layer's."""

    def tap(self, layer: Layer, x: Tensor, output: Tensor) -> None:
        if not output.requires_grad:  # computed under `no_grad`: a constant
            return
        visit, read, written = self.visit, x._version, output._version
        if self.keep_outputs:
            layer.y = output.detach()

        # Graphs are invisible to the garbage collector: this must hold neither the tape nor the input.
        def gradient(dy: Tensor) -> None:
            if layer.x._version != read:
                raise UnsupportedError("a layer's input is overwritten")
            if layer.y is not None and layer.y._version != written:
                layer.y = None
            visit(layer, dy)
            layer.y = None

        output.register_hook(gradient)
        if not x.requires_grad:
            self.firsts.append(get_gradient_edge(output))

    @contextmanager
    def listening(self, module: nn.Module) -> Iterator[None]:
        with ExitStack() as stack:
            for part in module.modules():
                if any(parameter.requires_grad for parameter in part.parameters(recurse=False)):
                    _check(part)
                    stack.callback(self._attach(part))
            yield

    def _attach(self, part: nn.Module) -> Any:
        if type(part) in RECURRENT:
            part.__dict__["forward"] = unrolled(part, self.clients, self.tap)
            return lambda: part.__dict__.pop("forward")
        return part.register_forward_hook(self._record).remove

    def _record(self, part: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        if len(args) != 1:
            raise UnsupportedError(f"{type(part).__name__} is called with keywords")
        self.tap(LAYERS[type(part)](part, args[0], self.clients), args[0], output)


def _check(part: nn.Module) -> None:
    """Raise `UnsupportedError` for modules and settings that no layer speaks for."""
    name = type(part).__name__
    if type(part) not in {*LAYERS, *RECURRENT} or "forward" in part.__dict__:
        raise UnsupportedError(f"{name} is not a layer that the engine knows")
    if not all(parameter.requires_grad for parameter in part.parameters(recurse=False)):
        raise UnsupportedError(f"{name} has frozen parameters beside trained ones")

"""One forward and backward pass over several clients, with every layer's part told as it comes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import functional

from sparsefed.clients.ghost.base import Layer
from sparsefed.clients.ghost.conv import ConvLayer
from sparsefed.clients.ghost.linear import LinearLayer
from sparsefed.network import IGNORED

__all__ = ["LAYERS", "owners", "run_pass", "supports"]

LAYERS: dict[type[nn.Module], type[Layer]] = {nn.Linear: LinearLayer, nn.Conv2d: ConvLayer}
"""Who speaks for which module; exact types, as a subclass may compute something else."""

Visitor = Callable[[Layer, Tensor], None]
"""Called once per layer, last layer first, with the gradient at the layer's output."""


def owners(module: nn.Module) -> list[nn.Module]:
    """The modules that own parameters themselves."""
    return [part for part in module.modules() if next(part.parameters(recurse=False), None) is not None]


def supports(module: nn.Module) -> bool:
    """Whether the engine knows every module that owns parameters."""
    parts = owners(module)
    names = [parameter for part in parts for parameter in part.parameters(recurse=False)]
    if len(set(names)) < len(names):
        return False
    return all(type(part) in LAYERS and not _is_odd(part) for part in parts)


def _is_odd(part: nn.Module) -> bool:
    """Convolutions in groups, with padding other than zeros, or with "same" padding of even kernels."""
    if not isinstance(part, nn.Conv2d):
        return False
    uneven = part.padding == "same" and any(
        d * (k - 1) % 2 for d, k in zip(part.dilation, part.kernel_size, strict=True)
    )
    return part.groups != 1 or part.padding_mode != "zeros" or uneven


def run_pass(module: nn.Module, chunk: Any, visit: Visitor, keep_outputs: bool = False) -> None:
    """Back-propagate the sum of the clients' mean losses and let `visit` see every layer.

    Parameters get no gradient here: only the gradients at the layers' outputs are computed.
    """
    clients = len(chunk.clients)
    firsts: list[GradientEdge] = []

    def record(part: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        layer = LAYERS[type(part)](part, args[0], clients)
        layer.y = output.detach() if keep_outputs else None
        output.register_hook(lambda dy: visit(layer, dy))
        if not args[0].requires_grad:
            firsts.append(get_gradient_edge(output))

    with torch.enable_grad(), _hooked(module, record):
        loss = total_loss(module(chunk.inputs), chunk.labels, clients)
    torch.autograd.grad(loss, firsts)


def total_loss(logits: Tensor, labels: Tensor, clients: int) -> Tensor:
    """Σ over clients of the mean cross entropy over the client's labels that are not `IGNORED`."""
    losses = functional.cross_entropy(
        logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORED, reduction="none"
    )
    counts = (labels.view(clients, -1) != IGNORED).sum(1).clamp(min=1)
    return (losses.view(clients, -1).sum(1) / counts).sum()


@contextmanager
def _hooked(module: nn.Module, record: Callable[..., None]) -> Iterator[None]:
    handles = [part.register_forward_hook(record) for part in owners(module)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

"""A pass by `torch.func`: every client's whole gradient, for models whose layers the engine does not know."""

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from sparsefed.clients.chunks import Chunk
from sparsefed.clients.ghost.base import Layer, Rows, Sums, Visitor, squared_norms
from sparsefed.core.types import PerClient
from sparsefed.models.network import mean_cross_entropy

__all__ = ["vmapped_pass"]


def vmapped_pass(module: nn.Module, chunk: Chunk, visit: Visitor, keep_outputs: bool = False) -> None:
    """Compute all gradients of all clients in the chunk and let `visit` see them as one layer."""
    clients = len(chunk.clients)
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    names = {name: parameter.detach() for name, parameter in trained.items()}

    def loss(parameters: dict[str, Tensor], inputs: Tensor, labels: Tensor) -> Tensor:
        # contiguous: some operators refuse the strides that vmap leaves
        return mean_cross_entropy(functional_call(module, parameters, (inputs,)), labels)

    inputs, labels = (t.unflatten(0, (clients, -1)) for t in (chunk.inputs, chunk.labels))
    with torch.enable_grad():
        per_client = vmap(grad(loss), in_dims=(None, 0, 0), randomness="different")  # so that it shows
        gradients = per_client(names, inputs, labels)
    whole = _Whole(module, chunk.inputs, clients)
    whole.gradients = {parameter: gradients[name] for name, parameter in trained.items()}
    visit(whole, chunk.inputs)


class _Whole(Layer):
    """A model as a single layer, whose gradients are all there."""

    gradients: dict[nn.Parameter, Tensor]

    def parameters(self) -> list[nn.Parameter]:
        return list(self.gradients)

    def measure(self, dy: Tensor) -> PerClient:
        return torch.stack([squared_norms(gradient) for gradient in self.gradients.values()]).sum(0)

    def inner(self, dy: Tensor) -> PerClient:
        flat = [gradient.flatten(1) @ p.detach().flatten() for p, gradient in self.gradients.items()]
        return torch.stack(flat).sum(0)

    def add(self, factors: PerClient, sums: Sums) -> None:
        for parameter, gradient in self.gradients.items():
            sums[parameter] += torch.tensordot(factors, gradient, 1)

    def write(self, dy: Tensor, rows: Rows) -> None:
        for parameter, gradient in self.gradients.items():
            rows.put(parameter, gradient)

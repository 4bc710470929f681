"""A PyTorch module seen as the paper sees it: a function of one flat parameter vector θ."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsefed.core.errors import SpecError
from sparsefed.core.types import Vector

__all__ = ["IGNORED", "Network"]

IGNORED = -100
"""Label of a position that neither the loss nor an accuracy counts (PyTorch's own convention)."""


class Network:
    """A module whose parameters are views of one flat vector.

    Tied parameters are stored once. Buffers (running statistics) are refused: they are state that
    clients would have to communicate and that no ℓ2 bound covers.
    """

    def __init__(self, module: nn.Module) -> None:
        buffers = [name for name, _ in module.named_buffers()]
        if buffers:
            needed = "all state in the parameters (layer norm, for example, in place of batch norm)"
            raise SpecError(f"{type(module).__name__} has a buffer `{buffers[0]}`: need {needed}")
        frozen = [name for name, parameter in module.named_parameters() if not parameter.requires_grad]
        if frozen:
            needed = "all parameters trained: the clip and the defense are about all of them"
            raise SpecError(f"{type(module).__name__} has a frozen parameter `{frozen[0]}`: need {needed}")
        self.module = module
        self.parameters = list(module.parameters())
        if not self.parameters:
            raise SpecError(f"{type(module).__name__} has no parameters, need at least 1 to train")
        self.shapes = [parameter.shape for parameter in self.parameters]
        self.sizes = [math.prod(shape) for shape in self.shapes]
        self.size = sum(self.sizes)
        """d, the number of parameters."""

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.parameters[0].device

    def vector(self) -> Vector:
        """A copy of the parameters as one vector, in the order of `module.parameters()`."""
        return torch.cat([parameter.detach().reshape(-1) for parameter in self.parameters])

    def views(self, vector: Tensor) -> list[Tensor]:
        """`vector` cut and shaped like the parameters, without a copy; leading axes are kept."""
        lead = vector.shape[:-1]
        parts = vector.split(self.sizes, dim=-1)
        return [part.view(*lead, *shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def bind(self, params: Vector) -> None:
        """Make the module compute with `params` itself, not with a copy."""
        for parameter, view in zip(self.parameters, self.views(params), strict=True):
            parameter.data = view

    def as_precise(self, inputs: Tensor) -> Tensor:
        """Floating-point inputs in the parameters' type; tokens as they are."""
        return inputs.to(self.parameters[0].dtype) if inputs.is_floating_point() else inputs

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Without gradients and without dropout."""
        self.module.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.module.train()

    @property
    def is_random(self) -> bool:
        """Whether training draws random numbers (dropout)."""
        return any(isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0 for m in self.module.modules())

    def loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Mean cross entropy over the labels that are not `IGNORED`, at the bound parameters."""
        return mean_cross_entropy(self.module(inputs), labels)

    def gradient(self, inputs: Tensor, labels: Tensor) -> Vector:
        """∇θ of `loss` at the bound parameters, flattened."""
        gradients = torch.autograd.grad(self.loss(inputs, labels), self.parameters)
        return torch.cat([gradient.reshape(-1) for gradient in gradients])


def mean_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy of `[..., classes]` logits against `[...]` labels, skipping `IGNORED`."""
    return functional.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORED)

"""Training on few examples in the span of their inputs: the same steps, with as many inputs as examples.

A gradient step moves the first layer's weights W only within the span of the inputs X. Let X = C B, with the
rows of B orthonormal. Then W Bᵀ on the coordinates C computes what W computes on X, every step of it is the
step of W, and is as long. On 200 images of 784 pixels this leaves 200 inputs of 784.
"""

from itertools import pairwise
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torch.utils.weak import WeakTensorKeyDictionary

from sparsefed.core.types import Vector
from sparsefed.models.network import IGNORED, Network

__all__ = ["Span"]

threshold_backward = torch.ops.aten.threshold_backward

_bases = WeakTensorKeyDictionary()
"""The basis of each set of inputs that was asked for, as long as the inputs live."""


class _Basis(NamedTuple):
    coordinates: Tensor
    """C, `[examples, rank]`."""
    rows: Tensor | None
    """B, `[rank, inputs]`; None where the inputs are as many as the examples, and stay as they are."""


class Span:
    """Linear layers with ReLU between them, trained on some fixed examples."""

    def __init__(self, layers: list[nn.Linear], basis: _Basis, labels: Tensor, params: list[Tensor]) -> None:
        self.coordinates, self.rows = basis
        self._wanted = one_hot(labels, layers[-1].out_features).to(self.coordinates.dtype)
        first, *others = params
        self.start = torch.cat([self._inward(first).flatten(), *(other.flatten() for other in others)])
        """θ of the small model, `[size]`."""
        shapes = [(layers[0].out_features, self.coordinates.shape[1]), *(other.shape for other in others)]
        self._shapes = [torch.Size(shape) for shape in shapes]
        self.local = self.start.clone()
        """The small model in training, to be changed in place."""
        self._step = torch.empty_like(self.start)
        self._layers, self._gradients = self._cut(self.local), self._cut(self._step)

    @classmethod
    def of(cls, network: Network, params: Vector, inputs: Tensor, labels: Tensor) -> Self | None:
        """The training of `network` from `params`; None unless it is linear layers with ReLU between them."""
        layers = _chain(network)
        if layers is None or labels.ndim != 1 or inputs.dtype != params.dtype:
            return None
        if inputs[0].numel() != layers[0].in_features or bool((labels == IGNORED).any()):
            return None
        if (basis := _bases.get(inputs)) is None:
            basis = _bases[inputs] = _basis(inputs.flatten(1))
        return cls(layers, basis, labels, network.views(params))

    def gradient(self, examples: Tensor) -> Vector:
        """∇ of the mean cross entropy over the examples at these positions, at `local`.

        Overwritten by the next call.
        """
        layers, outputs = self._layers, [self.coordinates.index_select(0, examples)]
        for layer in layers[:-1]:
            outputs.append(_affine(outputs[-1], *layer).relu_())
        upstream = _affine(outputs[-1], *layers[-1]).softmax(1)
        upstream.sub_(self._wanted.index_select(0, examples)).div_(len(examples))
        for position in range(len(layers) - 1, -1, -1):
            weight, bias = self._gradients[position]
            torch.mm(upstream.T, outputs[position], out=weight)
            if bias is not None:
                torch.sum(upstream, 0, out=bias)
            if position:
                upstream = threshold_backward(upstream @ layers[position][0], outputs[position], 0.0)
        return self._step

    def outward(self, moved: Vector) -> Vector:
        """What a movement of the small model is in the whole one: `[size]` to `[params]`."""
        if self.rows is None:
            return moved
        first, rest = moved.split([self._shapes[0].numel(), len(moved) - self._shapes[0].numel()])
        return torch.cat([(first.view(self._shapes[0]) @ self.rows).flatten(), rest])

    def _inward(self, weight: Tensor) -> Tensor:
        return weight if self.rows is None else weight @ self.rows.T

    def _cut(self, vector: Vector) -> list[tuple[Tensor, Tensor | None]]:
        """Weight and bias of every layer, as views."""
        sizes = [shape.numel() for shape in self._shapes]
        parts = [part.view(shape) for part, shape in zip(vector.split(sizes), self._shapes, strict=True)]
        found: list[tuple[Tensor, Tensor | None]] = []
        for part in parts:
            if part.ndim == 2:
                found.append((part, None))
            else:
                found[-1] = (found[-1][0], part)
        return found


def _affine(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return inputs @ weight.T if bias is None else torch.addmm(bias, inputs, weight.T)


def _basis(inputs: Tensor) -> _Basis:
    if len(inputs) >= inputs.shape[1]:
        return _Basis(inputs, None)
    columns, coordinates = torch.linalg.qr(inputs.T.double())
    return _Basis(coordinates.T.to(inputs.dtype).contiguous(), columns.T.to(inputs.dtype).contiguous())


def _chain(network: Network) -> list[nn.Linear] | None:
    """The layers of a network that is nothing but linear layers with ReLU between them, all trained."""
    module = network.module
    if type(module) is not nn.Sequential or _watched(module):
        return None
    parts = [part for part in module if not _flattens(part)]
    kinds = [type(part) for part in parts]
    if kinds != [nn.Linear, nn.ReLU] * (len(kinds) // 2) + [nn.Linear]:
        return None
    layers = [part for part in parts if isinstance(part, nn.Linear)]
    own = [parameter for layer in layers for parameter in layer.parameters(recurse=False)]
    same = len(own) == len(network.parameters) and all(
        a is b for a, b in zip(own, network.parameters, strict=True)
    )
    fits = all(before.out_features == after.in_features for before, after in pairwise(layers))
    return layers if same and fits else None


def _flattens(part: nn.Module) -> bool:
    return type(part) is nn.Flatten and (part.start_dim, part.end_dim) == (1, -1)


def _watched(module: nn.Module) -> bool:
    """Whether a hook of someone's reads or changes what passes through."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(part, name) for part in module.modules() for name in hooks)

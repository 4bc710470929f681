"""A PyTorch module seen as the paper sees it: a function of one flat parameter vector θ."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parameter import is_lazy

from sparsefed.core.errors import SpecError
from sparsefed.core.seeds import Stream, seeded
from sparsefed.core.types import Vector
from sparsefed.models.passes import examples_per_pass, is_separable

__all__ = ["IGNORED", "Network", "in_evaluation", "mean_cross_entropy"]

IGNORED = -100
"""Label of a position that neither the loss nor an accuracy counts (PyTorch's own convention)."""

FEW = 4
"""So few examples are not worth cutting up."""


class Network:
    """A module whose trained parameters are views of one flat vector.

    Trained are the parameters with `requires_grad`; tied ones are stored once. All other parameters
    and the buffers are constants of the module. Raises SpecError for parameters that no vector of
    real numbers can hold, and where nothing trains.
    """

    def __init__(self, module: nn.Module, seed: int = 0) -> None:
        _check_tensors(module)
        self.module = module
        self.seed = seed
        """Where the random numbers of an evaluation start, for modules that draw any."""
        trained = _trained(module)
        if not trained:
            raise SpecError(f"{type(module).__name__}: expected at least 1 parameter that trains, found none")
        self.names = list(trained)
        """What the trained parameters are called, in the order of θ."""
        self.parameters = list(trained.values())
        self.shapes = [parameter.shape for parameter in self.parameters]
        self.sizes = [math.prod(shape) for shape in self.shapes]
        self.size = sum(self.sizes)
        """d, the number of trained parameters."""

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.parameters[0].device

    def to(self, device: torch.device | str, dtype: torch.dtype) -> None:
        """Move the module to a device, and all its floating-point numbers to float32 or float64."""
        module = self.module.to(device)  # `module.to(dtype)` would cut complex constants to their real part
        module.double() if dtype == torch.float64 else module.float()
        self.parameters = list(_trained(module).values())

    def vector(self) -> Vector:
        """A copy of the trained parameters as one vector, in the order of `module.parameters()`."""
        return torch.cat([parameter.detach().reshape(-1) for parameter in self.parameters])

    def views(self, vector: Tensor) -> list[Tensor]:
        """`vector` cut and shaped like the parameters, without a copy; leading axes are kept."""
        lead = vector.shape[:-1]
        parts = vector.split(self.sizes, dim=-1)
        return [part.view(lead + shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def bind(self, params: Vector) -> None:
        """Make the module compute with `params` itself, not with a copy."""
        for parameter, view in zip(self.parameters, self.views(params), strict=True):
            parameter.data = view

    def as_precise(self, inputs: Tensor) -> Tensor:
        """Floating-point inputs in the parameters' type; tokens as they are."""
        return inputs.to(self.parameters[0].dtype) if inputs.is_floating_point() else inputs

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Without gradients and in evaluation mode; what draws even so draws the same every time."""
        with seeded(self.seed, Stream.EVALUATION), in_evaluation(self.module):
            yield

    def loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Mean cross entropy over the labels that are not `IGNORED`, at the bound parameters."""
        parts = self.parts(inputs, labels)
        return reduce(torch.add, (share * mean_cross_entropy(self.module(x), y) for x, y, share in parts))

    def gradient(self, inputs: Tensor, labels: Tensor) -> Vector:
        """∇θ of `loss` at the bound parameters, flattened; 0 where the loss does not depend on them.

        In several passes where the examples are many, so that memory does not grow with them.
        """
        parts = self.parts(inputs, labels)
        return reduce(torch.add, (share * self._gradient(x, y) for x, y, share in parts))

    def parts(self, inputs: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor, float]]:
        """Examples cut up for several passes, with each part's share of the labels that are not `IGNORED`.

        In one part where the module lets the examples of a batch see each other.
        """
        most = FEW if len(labels) <= FEW else examples_per_pass(self.module, inputs)
        if len(labels) <= most or not is_separable(self.module, inputs):
            yield inputs, labels, 1.0
            return
        counts = torch.stack([(part != IGNORED).sum() for part in labels.split(most)]).tolist()
        for x, y, count in zip(inputs.split(most), labels.split(most), counts, strict=True):
            if count:
                yield x, y, count / sum(counts)
        if not sum(counts):
            yield inputs[:1], labels[:1], 1.0

    def _gradient(self, inputs: Tensor, labels: Tensor) -> Vector:
        """`gradient` in a single pass."""
        loss = mean_cross_entropy(self.module(inputs), labels)
        if not loss.requires_grad:
            return torch.zeros_like(self.vector())
        gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True, materialize_grads=True)
        return torch.cat([gradient.to_dense().reshape(-1) for gradient in gradients])


@contextmanager
def in_evaluation(module: nn.Module) -> Iterator[None]:
    """A module in evaluation mode and without gradients; then every part is in its own mode again."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, training in modes:  # not `train()`: a frozen batch norm stays in evaluation mode
            part.training = training


def mean_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy of `[..., classes]` logits against `[...]` labels, skipping `IGNORED`."""
    return functional.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORED)


def _trained(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def _check_tensors(module: nn.Module) -> None:
    """Refuse parameters that hold no numbers yet, or none that a vector of real numbers can hold."""
    places: dict[int, str] = {}
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        trains = tensor.requires_grad
        problem = ""
        if is_lazy(tensor):
            problem = "is lazy and did not get its shape from a pass over the inputs"
        elif trains and not tensor.is_floating_point():
            problem = f"is {tensor.dtype}, expected floating-point numbers or requires_grad=False"
        elif trains and tensor.layout != torch.strided:
            problem = f"has the layout {tensor.layout}, expected a dense tensor"
        elif tensor.layout == torch.strided and tensor.numel() and not tensor.is_meta:
            other = places.setdefault(tensor.data_ptr(), name)
            if other != name and trains:
                problem = f"shares its memory with `{other}`, expected one parameter under both names"
        if problem:
            raise SpecError(f"{type(module).__name__}: `{name}` {problem}")

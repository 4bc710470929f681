"""What every model is: a spec that builds a PyTorch module for given inputs and classes."""

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from sparsefed.core.errors import SpecError
from sparsefed.core.seeds import Stream, seeded
from sparsefed.core.spec import Spec
from sparsefed.models.network import Network, in_evaluation

__all__ = ["Model", "image_shape"]


class Model(Spec, family=True):
    """A family of architectures; `type = "my_module:MyModel"` names a subclass of the user's own."""

    function_member: ClassVar[str] = "Custom"

    @abstractmethod
    def build(self, input_shape: tuple[int, ...], classes: int) -> nn.Module:
        """A new module from `[batch, *input_shape]` to logits `[batch, classes]`.

        Language models map tokens `[batch, length]` to logits `[batch, length, classes]`. Parameters
        with `requires_grad=False`, buffers and layers in evaluation mode stay as they are built.
        Initial weights come from the global generators; `network` seeds them. Raises SpecError where
        the inputs do not fit.
        """

    def frozen(self, draw: Callable[[int], Tensor], seed: int) -> Callable[[Tensor], Tensor] | None:
        """The part of the model that is not trained, computed once of every example; None if there is none.

        It maps inputs `[n, ...]` to what `build` then takes. `draw` gives so many unlabeled training inputs,
        or all if there are fewer. Raises SpecError where the inputs do not fit.
        """
        return None

    def network(
        self, input_shape: tuple[int, ...], classes: int, seed: int, inputs: torch.dtype = torch.float32
    ) -> Network:
        """The built module as a function of θ, with initial weights that depend on `seed` alone.

        Built on the CPU, so that every machine starts from the same θ; the global generators are left
        as they were. Lazy layers get their shapes from a pass over zeros of the type `inputs`. Raises
        SpecError as `build` and `Network`.
        """
        with seeded(seed, Stream.MODEL), torch.device("cpu"):
            module = self.build(input_shape, classes)
            tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
            for name, tensor in tensors.items():
                if tensor.is_meta:
                    raise SpecError(f"{self!r}: `{name}` is on the meta device, expected numbers")
            if any(map(is_lazy, tensors.values())):
                self._materialize(module, torch.zeros(2, *input_shape, dtype=inputs))
            return Network(module, seed)

    def _materialize(self, module: nn.Module, inputs: Tensor) -> None:
        try:
            with in_evaluation(module):
                module(inputs)
        except Exception as problem:  # a module of the user's own can raise anything
            why = str(problem).partition("\n")[0]
            given = f"{self!r} with lazy layers, given zeros of shape {list(inputs.shape)}"
            raise SpecError(f"{given}, fails: {type(problem).__name__}: {why}") from problem


def image_shape(name: str, input_shape: tuple[int, ...], least: int = 1) -> tuple[int, int, int]:
    """`input_shape` as (channels, height, width), where `name` needs sides of at least `least` pixels."""
    if len(input_shape) != 3 or min(input_shape[1:]) < least:
        needed = f"images [channels, height, width] of at least {least}×{least} pixels"
        raise SpecError(f"{name}: expected {needed}, found inputs of shape {list(input_shape)}")
    channels, height, width = input_shape
    return channels, height, width

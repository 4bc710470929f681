"""What every model is: a spec that builds a PyTorch module for given inputs and classes."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from sparsefed.core.errors import SpecError
from sparsefed.core.seeds import Stream, torch_generator
from sparsefed.core.spec import Spec
from sparsefed.models.network import Network

__all__ = ["Model", "check_logits", "image_shape"]


class Model(Spec, family=True):
    """A family of architectures; `type = "my_module:MyModel"` names a subclass of the user's own."""

    function_member: ClassVar[str] = "Custom"

    @abstractmethod
    def build(self, input_shape: tuple[int, ...], classes: int) -> nn.Module:
        """A new module from `[batch, *input_shape]` to logits `[batch, classes]`.

        Language models map tokens `[batch, length]` to logits `[batch, length, classes]`. Initial
        weights come from PyTorch's global generator; `network` seeds it. Raises SpecError where
        the inputs do not fit.
        """

    def network(self, input_shape: tuple[int, ...], classes: int, seed: int) -> Network:
        """The built module as a function of θ, with initial weights that depend on `seed` alone.

        Built on the CPU, so that every machine starts from the same θ; the global generator is
        left as it was. Raises SpecError as `build`, and for a module with buffers.
        """
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.set_rng_state(torch_generator(seed, Stream.MODEL).get_state())
            return Network(self.build(input_shape, classes))


def check_logits(model: Model, network: Network, inputs: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse a network that does not make logits of `shape` of `inputs`; it is left as it was."""
    modes = [(module, module.training) for module in network.module.modules()]
    kind = "inputs" if inputs.is_floating_point() else "tokens"
    given = f"{model!r} given {kind} of shape {list(inputs.shape)}"
    try:
        with network.evaluating(), torch.random.fork_rng([inputs.device] if inputs.is_cuda else []):
            logits = network.module(network.as_precise(inputs))
    except Exception as problem:  # a module of the user's own can raise anything
        why = str(problem).partition("\n")[0]
        raise SpecError(f"{given} fails: {type(problem).__name__}: {why}") from problem
    finally:
        for module, training in modes:
            module.training = training
    if not (isinstance(logits, Tensor) and logits.is_floating_point() and logits.shape == shape):
        is_tensor = isinstance(logits, Tensor)
        found = f"{logits.dtype} of shape {list(logits.shape)}" if is_tensor else type(logits).__name__
        raise SpecError(f"{given} must return floating-point logits of shape {list(shape)}, got {found}")


def image_shape(name: str, input_shape: tuple[int, ...], least: int = 1) -> tuple[int, int, int]:
    """`input_shape` as (channels, height, width), where `name` needs sides of at least `least` pixels."""
    if len(input_shape) != 3 or min(input_shape[1:]) < least:
        needed = f"images [channels, height, width] of at least {least}×{least} pixels"
        raise SpecError(f"{name} needs {needed}, got inputs of shape {list(input_shape)}")
    channels, height, width = input_shape
    return channels, height, width

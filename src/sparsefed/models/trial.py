"""Whether a module can be trained as the protocol asks, found by what it does with a few examples.

What a module remembers or draws cannot be read off its layers. So it computes the same examples twice
from the same seed, in evaluation and in training: nothing but the gradient may come of it.
"""

import hashlib
import pickle
from contextlib import nullcontext
from io import BytesIO
from typing import Any

import torch
from torch import Tensor, nn

from sparsefed.core.errors import SpecError
from sparsefed.core.seeds import Stream, seeded
from sparsefed.models.base import Model
from sparsefed.models.group_norm import with_group_norm
from sparsefed.models.network import Network, mean_cross_entropy

__all__ = ["check_network"]

TOLERANCE = 1e-4
"""Greatest difference of two passes, relative to the largest logit: a GPU may add in another order."""

OF_EVERY_MODULE = frozenset(vars(nn.Module()))

STATISTICS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)


def check_network(model: Model, network: Network, inputs: Tensor, labels: Tensor, classes: int) -> None:
    """Refuse, in one line, a network that does not make logits `[*labels.shape, classes]` of `inputs`,
    cannot be differentiated, or remembers anything from one pass to the next.

    A network that passes is as it was, but for what its first pass may set up.
    """
    kind = "inputs" if inputs.is_floating_point() else "tokens"
    inputs, given = network.as_precise(inputs), f"{model!r} given {kind} of shape {list(inputs.shape)}"
    tensors = {name: tensor.clone() for name, tensor in _tensors(network.module).items()}
    trained = set(network.names)
    for mode in (network.evaluating(), nullcontext()):
        with mode:
            first = _pass(given, network, inputs, labels, classes)
            tensors |= _set_up(network.module, tensors)
            attributes = _attributes(network.module)
            second = _pass(given, network, inputs, labels, classes)
            problem = (
                _changed_tensor(network.module, tensors)
                or _changed_training(network.module, trained)
                or _changed_attribute(network.module, attributes)
            )
        if problem:
            raise SpecError(f"{model!r}: {problem}")
        if not _close(first, second):
            needed = "no state, and random numbers from the global generators of PyTorch, NumPy or Python"
            raise SpecError(f"{model!r}: two passes from one seed differ: expected {needed}")


def _pass(given: str, network: Network, inputs: Tensor, labels: Tensor, classes: int) -> Tensor:
    """The logits; their gradient is computed too where gradients are on."""
    with seeded(0, Stream.PROBE):
        try:
            logits = network.module(inputs)
        except Exception as problem:  # a module of the user's own can raise anything
            tokens = "; tokens need a `vocabulary` in the data" if "'indices'" in str(problem) else ""
            raise SpecError(f"{given} fails: {_line(problem)}{tokens}") from problem
        shape = [*labels.shape, classes]
        if not (isinstance(logits, Tensor) and logits.is_floating_point() and list(logits.shape) == shape):
            is_tensor = isinstance(logits, Tensor)
            found = f"{logits.dtype} of shape {list(logits.shape)}" if is_tensor else type(logits).__name__
            raise SpecError(f"{given}: expected floating-point logits of shape {shape}, found {found}")
        if torch.is_grad_enabled():
            if not logits.requires_grad:
                raise SpecError(f"{given}: expected logits of trained parameters, found some without any")
            try:
                torch.autograd.grad(mean_cross_entropy(logits, labels), network.parameters, allow_unused=True)
            except Exception as problem:
                raise SpecError(f"{given} has no gradient: {_line(problem)}") from problem
    return logits.detach()


def _line(problem: Exception) -> str:
    why = str(problem).partition("\n")[0]
    return f"{type(problem).__name__}: {why}"


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name."""
    return {name: x.detach() for name, x in [*module.named_parameters(), *module.named_buffers()]}


def _set_up(module: nn.Module, known: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies of what a first pass made or made larger, such as a table of positions."""
    return {
        name: tensor.clone()
        for name, tensor in _tensors(module).items()
        if name not in known or known[name].shape != tensor.shape
    }


def _attributes(module: nn.Module) -> dict[str, bytes]:
    """Pickles of the attributes of all parts by name, without those that cannot be pickled."""
    return {
        f"{path}.{name}".removeprefix("."): pickled
        for path, part in module.named_modules()
        for name, value in vars(part).items()
        if name not in OF_EVERY_MODULE and (pickled := _pickled(value))
    }


class _Pickler(pickle.Pickler):
    """Pickles tensors by their numbers alone: PyTorch's own pickles tell where they are in memory."""

    def persistent_id(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return None
        numbers = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        return str(value.dtype), list(value.shape), hashlib.sha256(numbers.numpy().data).digest()


def _pickled(value: Any) -> bytes:
    """A value's pickle; empty for what cannot be pickled."""
    into = BytesIO()
    try:
        _Pickler(into).dump(value)
    except Exception:  # whatever the object of a user's own may raise
        return b""
    return into.getvalue()


def _changed_tensor(module: nn.Module, before: dict[str, Tensor]) -> str:
    """The first parameter or buffer that is not as before, as the rest of a sentence; empty if none."""
    for name, tensor in _tensors(module).items():
        if name in before and _same(before[name], tensor):
            continue
        path, _, last = name.rpartition(".")
        owner = module.get_submodule(path)
        kind = type(owner).__name__
        if isinstance(owner, STATISTICS):
            mend = f"freeze it with `.eval()`, or replace it: sparsefed.models.{with_group_norm.__name__}"
            return f"{kind} `{path}` changes its running statistics while it trains: {mend}"
        if owner._parameters.get(last) is not None:
            return f"the forward pass of {kind} changes its parameter `{name}`: only the server may"
        return f"the forward pass of {kind} changes its buffer `{name}`: expected a constant"
    return ""


def _changed_training(module: nn.Module, before: set[str]) -> str:
    for name in sorted(before ^ {name for name, x in module.named_parameters() if x.requires_grad}):
        return f"the forward pass changes whether `{name}` trains: expected requires_grad to be set once"
    return ""


def _changed_attribute(module: nn.Module, before: dict[str, bytes]) -> str:
    for name, pickled in _attributes(module).items():
        if before.get(name) != pickled:
            owner = type(module.get_submodule(name.rpartition(".")[0])).__name__
            return f"the forward pass of {owner} changes its attribute `{name}`: expected no hidden state"
    return ""


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal, NaN included."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return bool(((a == b) | (a.isnan() & b.isnan())).all())


def _close(a: Tensor, b: Tensor) -> bool:
    scale = float(a.nan_to_num(0, 0, 0).abs().max())
    return torch.allclose(a, b, rtol=0, atol=TOLERANCE * scale, equal_nan=True)

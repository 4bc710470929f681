"""How many examples go through a network at once, so that memory does not grow with a client's data.

The gradient of a mean over examples is the mean of their gradients, so any number of them can be summed up
pass by pass; unless a module lets the examples of a batch see each other, which is tried out.
"""

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from sparsefed.core.seeds import Stream, seeded, torch_generator
from sparsefed.models.copies import copied, perturbed

__all__ = ["bytes_per_pass", "examples_per_pass", "is_separable"]

_bytes: "WeakKeyDictionary[nn.Module, dict[Any, float]]" = WeakKeyDictionary()
_separable: "WeakKeyDictionary[nn.Module, dict[Any, bool]]" = WeakKeyDictionary()


def bytes_per_pass(device: torch.device) -> int:
    """What a pass may keep for its gradient: 64 MiB on a CPU, 1 GiB on a GPU."""
    return 1 << (26 if device.type == "cpu" else 30)


def examples_per_pass(module: nn.Module, inputs: Tensor) -> int:
    """How many examples like `inputs` may go through a module together in bounded memory, at least 1."""
    each = _remembered(_bytes, module, inputs, _bytes_per_example)
    return max(1, int(bytes_per_pass(inputs.device) / each))


def is_separable(module: nn.Module, inputs: Tensor) -> bool:
    """Whether examples like `inputs` may go through a module in parts, as none sees the others."""
    return _remembered(_separable, module, inputs, _stands_alone)


def _remembered(known: Any, module: nn.Module, inputs: Tensor, measure: Any) -> Any:
    """What was measured on a few examples of a kind, once for each module."""
    results = known.setdefault(module, {})
    kind = (module.training, inputs.shape[1:], inputs.dtype, inputs.device)
    if kind not in results:
        with seeded(0, Stream.PROBE):
            results[kind] = measure(module, inputs[[0, -1, len(inputs) // 2]])
    return results[kind]


def _bytes_per_example(module: nn.Module, sample: Tensor) -> float:
    """What a pass keeps for its gradient, and twice its outputs for the loss and its gradient."""
    module, kept = copied(module), dict[int, tuple[int, Tensor]]()

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # held, so that no other takes its place
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = module(sample)
    for own in (*module.parameters(), *module.buffers(), sample):
        kept.pop(own.untyped_storage().data_ptr(), None)
    total = sum(size for size, _ in kept.values()) + 2 * outputs.numel() * outputs.element_size()
    return total / len(sample)


@torch.no_grad()
def _stands_alone(module: nn.Module, sample: Tensor) -> bool:
    """Whether an example's output is the same whatever stands beside it, and however much.

    What draws random numbers draws others in a batch of another size, so that is tried without, in
    evaluation mode.
    """
    generator = torch_generator(0, Stream.PROBE)
    if sample.is_floating_point():
        noise = torch.randn(sample.shape, generator=generator)
        sample = sample.double().nan_to_num(0, 0, 0) + noise.to(sample.device)

    try:
        trial = perturbed(module, generator)

        def first_of(inputs: Tensor, seed: int = 0) -> Tensor:
            with seeded(seed, Stream.PROBE):
                return trial(inputs)[:1]

        beside, beside_itself = first_of(sample), first_of(sample[[0, 0, 0]])
        if not torch.equal(beside, first_of(sample, seed=1)):
            trial.eval()
        alone, among = first_of(sample[:1]), first_of(sample)
    except Exception:  # a module of the user's own may raise anything on a single example
        return False
    return all(
        torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in ((beside, beside_itself), (alone, among))
    )

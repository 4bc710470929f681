"""How many CPU threads a run computes with: chosen before its first round, and the same when it resumes.

The last bits of a sum depend on the number of threads, so it is a function of the experiment and not of how
busy the machine is. Small models lose time with a second thread: the threads wait for each other at every
matrix product.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numba
import torch
from torch import Tensor, nn

from sparsefed.federation.round import Federation
from sparsefed.kernels.compiled import kernels_on

__all__ = ["begun_with", "computing_with", "multiply_adds", "worthwhile_threads"]

WORTH_A_THREAD = 1_000_000
"""Multiply-adds for one example from which a second thread pays (`python -m benchmarks threads`)."""


def worthwhile_threads(fed: Federation) -> int:
    """One for a small model, else as many as PyTorch is set to."""
    example = fed.network.as_precise(fed.dataset.inputs(fed.dataset.train.x[:1]))
    with fed.network.evaluating():
        small = multiply_adds(fed.network.module, example) < WORTH_A_THREAD
    return 1 if small else torch.get_num_threads()


def begun_with(rows: list[dict[str, Any]]) -> int | None:
    """The threads of a run's latest stretch; None for a run without rounds."""
    stretches = [row["environment"] for row in rows if "environment" in row]
    return stretches[-1]["threads"] if stretches else None


def multiply_adds(module: nn.Module, inputs: Tensor) -> int:
    """About how many multiply-adds a forward pass takes: each weight as often as it is used."""
    counts = []

    def count(layer: nn.Module, _: object, output: Any) -> None:
        own = list(layer.parameters(recurse=False))
        first = output[0] if isinstance(output, tuple) else output
        if isinstance(layer, nn.RNNBase):
            counts.append(first.shape[:-1].numel() * sum(weight.numel() for weight in own))
        elif isinstance(first, Tensor) and not isinstance(layer, nn.Embedding):
            counts.append(first.numel() * sum(weight.shape[1:].numel() for weight in own))

    hooks = [layer.register_forward_hook(count) for layer in module.modules()]
    try:
        module(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(counts)


@contextmanager
def computing_with(threads: int) -> Iterator[None]:
    """Inside, PyTorch and the compiled kernels compute with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with kernels_on(min(threads, numba.config.NUMBA_NUM_THREADS)):  # pyright: ignore
            yield  # no kernel has to change the number, which takes as long as a small one
    finally:
        torch.set_num_threads(before)

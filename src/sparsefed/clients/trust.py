"""Which engine may compute a model's updates: the fastest that equals the literal loop on a small trial.

What a module does with its parameters cannot be read off its layers: it may use a weight elsewhere,
mix the examples of a batch, or draw random numbers. So every engine first computes a few examples on
a copy of the model in double precision, at perturbed parameters, against the loop.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from sparsefed.clients.base import LocalData, Work
from sparsefed.clients.batched import Batched, Engine
from sparsefed.clients.ghost.tape import ghost_pass
from sparsefed.clients.loop import Client, Loop
from sparsefed.clients.parted import parted
from sparsefed.clients.stacked import LocalTraining, Stacked, worth_stacking
from sparsefed.clients.vmapped import vmapped_pass
from sparsefed.clients.watch import who_draws
from sparsefed.core.notices import Notice, notify
from sparsefed.core.seeds import Stream, torch_generator
from sparsefed.models.copies import perturbed
from sparsefed.models.network import Network
from sparsefed.models.passes import bytes_per_pass, examples_per_pass
from sparsefed.protocol.lazy import Source

__all__ = ["SlowModel", "fastest", "fastest_training"]

TOLERANCE = 1e-9
"""Greatest relative difference to the loop, in double precision."""

ALONE = 16
"""Windows beyond which PyTorch's own LSTM, client by client, beats one unrolled over many (CPU)."""

_verdicts: "WeakKeyDictionary[nn.Module, dict[Any, Engine | None]]" = WeakKeyDictionary()

_stackable: "WeakKeyDictionary[nn.Module, dict[Any, bool]]" = WeakKeyDictionary()


class SlowModel(Notice):
    """A model that cannot go through the fastest engine, and what is used in its place."""


def fastest(work: Work, weight_decay: float, literal: Client) -> Source:
    """The fastest source of the updates that `literal` computes one by one; never another result.

    Warns with `SlowModel`, once per model, where it is not the batched engine.
    """
    if len(work.data.sizes) == 0:
        return Loop(work, literal)
    module = work.network.module
    known = _verdicts.setdefault(module, {})
    kind = (module.training, work.data.inputs.shape[1:], work.data.inputs.dtype, weight_decay > 0)
    if kind not in known:
        known[kind] = _choose(work, weight_decay, literal)
    engine = known[kind]
    if engine is None:
        return Loop(work, literal)

    def alone(few: Work) -> Source:
        inputs = few.data.inputs
        if engine.channels_last and inputs.ndim == 4:
            inputs = inputs.to(memory_format=torch.channels_last)
        return Loop(few._replace(data=few.data._replace(inputs=inputs)), literal)

    large = work.data.sizes > min(engine.examples, engine.alone)
    return parted(work, large, lambda some: Batched(some, weight_decay, engine), alone)


def fastest_training(work: Work, training: LocalTraining, literal: Client) -> Source:
    """The source of the updates after local training: stacked where that is worth it and equals the loop."""
    module, data = work.network.module, work.data
    if len(data.sizes) < 2 or not worth_stacking(module):
        return Loop(work, literal)
    known = _stackable.setdefault(module, {})
    kind = (module.training, data.inputs.shape[1:], data.inputs.dtype)
    if kind not in known:
        known[kind] = not _problem(work, literal, lambda trial: Stacked(trial, training))
    if not known[kind]:
        return Loop(work, literal)
    most = examples_per_pass(module, data.inputs)
    large = np.minimum(data.sizes, training.batch_size or data.sizes) > most
    return parted(work, large, lambda some: Stacked(some, training, most), lambda some: Loop(some, literal))


def _choose(work: Work, weight_decay: float, literal: Client) -> Engine | None:
    """The fastest engine that passes the trial; None for the loop."""
    images = any(isinstance(part, nn.Conv2d) for part in work.network.module.modules())
    batched, by_vmap = Engine(ghost_pass, channels_last=images), Engine(vmapped_pass)
    problem = _problem(work, literal, lambda trial: Batched(trial, weight_decay, batched))
    most = examples_per_pass(work.network.module, work.data.inputs)
    if not problem:
        lstm = any(isinstance(part, nn.LSTM) for part in work.network.module.modules())
        return batched._replace(examples=most, alone=ALONE if lstm else most)
    if _problem(work, literal, lambda trial: Batched(trial, weight_decay, by_vmap)):
        return _warned(work, problem, "the literal loop", None)
    row = work.params.element_size() * work.network.size
    rows = max(1, bytes_per_pass(work.params.device) // row)
    return _warned(work, problem, "torch.func", by_vmap._replace(examples=min(most, 4 * rows)))


def _warned(work: Work, problem: str, shown: str, engine: Engine | None) -> Engine | None:
    """`engine`, after a warning."""
    name = type(work.network.module).__name__
    text = f"{name} cannot go through the batched engine: {problem}; {shown} computes the same, slower"
    notify(SlowModel, text)
    return engine


def _problem(work: Work, literal: Client, faster: Callable[[Work], Source]) -> str:
    """Why the faster source cannot be used for the model; empty if it can."""
    try:
        trial = _trial(work)
        first = slice(0, int(trial.data.sizes[0]))
        if who := who_draws(trial.network.module, lambda: literal(trial, 0, first)):
            return f"{who} draws random numbers"
        truth, fast = Loop(trial, literal), faster(trial)
        with warnings.catch_warnings():  # PyTorch's own, about slow operators
            warnings.filterwarnings("ignore", "There is a performance drop")
            limit = float(fast.reduce(math.inf)[0].min())
            (norms, total), (fast_norms, fast_total) = truth.reduce(limit), fast.reduce(limit)
            rows, fast_rows = truth.rows(), fast.rows()
        same = _equal(norms, fast_norms) and _equal_blocks(trial.network, total, fast_total)
        same = same and all(_equal_blocks(trial.network, *pair) for pair in zip(rows, fast_rows, strict=True))
    except Exception as problem:  # whatever a user's module may raise
        return str(problem).partition("\n")[0] or type(problem).__name__
    return "" if same else "its updates would differ from the loop's"


def _equal_blocks(network: Network, truth: Tensor, found: Tensor) -> bool:
    """Whether two updates agree in every parameter, measured by the parameter's own largest number."""
    least = 1e-6 * float(truth.abs().max())
    pairs = zip(network.views(truth), network.views(found), strict=True)
    return all(_equal(a, b, least) for a, b in pairs)


def _equal(truth: Tensor, found: Tensor, least: float = 0.0) -> bool:
    if truth.numel() == 0:
        return True
    return bool((truth - found).abs().max() <= TOLERANCE * max(float(truth.abs().max()), least))


def _trial(work: Work) -> Work:
    """At most two clients, of three and two examples, on a perturbed double-precision copy of the model.

    A client that has fewer repeats them: sizes that differ show what padding does to the module.
    """
    generator = torch_generator(0, Stream.PROBE)
    network = Network(perturbed(work.network.module, generator))
    params = network.vector()
    data, sizes = work.data, np.array([3, 2][: len(work.data.sizes)])
    starts = (np.cumsum(data.sizes) - data.sizes)[:2]
    parts = zip(starts, data.sizes[:2], sizes, strict=True)
    examples = np.concatenate([start + np.arange(size) % known for start, known, size in parts])
    inputs, labels = data.inputs[examples], data.labels[examples]
    if inputs.is_floating_point():  # a blank corner must not hide a weight
        noise = torch.randn(inputs.shape, generator=generator).to(params)
        inputs = inputs.to(params).nan_to_num(0, 0, 0) + 0.1 * noise
    data = LocalData(data.clients[:2], inputs, labels, sizes)
    return work._replace(network=network, params=params, data=data, lr=work.lr or 1.0)

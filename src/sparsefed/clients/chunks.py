"""A round's clients cut into chunks that go through the network together."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sparsefed.clients.base import LocalData
from sparsefed.models.network import IGNORED

__all__ = ["Chunk", "chunk_of", "cuts"]

WASTE = 1.5
"""Most examples of a chunk, with the repeated ones, over those without."""


class Chunk(NamedTuple):
    """Clients with equally many examples each; one that had fewer repeats its first, without a label."""

    clients: np.ndarray
    """Positions in the cohort."""
    inputs: Tensor
    labels: Tensor


def cuts(sizes: np.ndarray, order: np.ndarray, examples: int) -> Iterator[np.ndarray]:
    """`order` cut into runs of clients of similar sizes, of at most so many examples, at least a client."""
    if len(sizes) * sizes.max(initial=0) <= examples and (sizes == sizes[:1]).all():
        yield from [order] * bool(len(order))
        return
    start, largest, total = 0, 0, 0
    for end, size in enumerate(sizes[order].tolist()):
        grown = max(largest, size) * (end + 1 - start)
        if end > start and (grown > examples or grown > WASTE * (total + size)):
            yield order[start:end]
            start, largest, total = end, 0, 0
        largest, total = max(largest, size), total + size
    if start < len(order):
        yield order[start:]


def chunk_of(data: LocalData, clients: np.ndarray) -> Chunk:
    """The examples of some clients, client after client."""
    if (data.sizes == data.sizes[0]).all() and np.array_equal(clients, np.arange(len(data.sizes))):
        return Chunk(clients, data.inputs, data.labels)
    sizes, starts = data.sizes[clients], (np.cumsum(data.sizes) - data.sizes)[clients]
    places = np.arange(sizes.max())
    missing = places >= sizes[:, None]
    examples = (starts[:, None] + np.where(missing, 0, places)).ravel()
    inputs, labels = _rows(data.inputs, examples), _rows(data.labels, examples)
    if missing.any():
        labels[torch.from_numpy(missing.ravel()).to(labels.device)] = IGNORED
    return Chunk(clients, inputs, labels)


def _rows(tensor: Tensor, examples: np.ndarray) -> Tensor:
    """Some rows: a view where they stand together, else a copy."""
    first, count = int(examples[0]), len(examples)
    if examples[-1] - first == count - 1 and (np.diff(examples) == 1).all():
        return tensor[first : first + count]
    return tensor.index_select(0, torch.from_numpy(examples).to(tensor.device))

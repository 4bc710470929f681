"""A population is two index arrays: a million clients cost megabytes, not objects."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from pydantic import PositiveInt

from sparsefed.core.errors import DataError
from sparsefed.core.spec import Spec
from sparsefed.core.text import amount
from sparsefed.core.types import ClientIds
from sparsefed.data.dataset import Split

__all__ = ["Partition", "Population", "SizedPartition", "class_labels", "even_sizes", "index_type"]

MOST = 2**40
"""Examples of all clients together; more fit in no memory, and much more not in 64 bits."""


@dataclass(frozen=True)
class Population:
    """Which examples each client owns: client i has `indices[offsets[i]:offsets[i + 1]]`."""

    indices: np.ndarray
    """Positions in the training set, all clients one after the other, in the smallest type that fits."""
    offsets: np.ndarray
    """Where each client begins in `indices`, and the end: int `[clients + 1]`."""

    @classmethod
    def of_sizes(cls, indices: np.ndarray, sizes: np.ndarray) -> "Population":
        """Cut `indices` into clients of the given sizes."""
        offsets = np.zeros(len(sizes) + 1, np.int32 if len(indices) < 2**31 else np.int64)
        np.cumsum(sizes, out=offsets[1:])
        return cls(indices, offsets)

    def __len__(self) -> int:
        """The number of clients."""
        return len(self.offsets) - 1

    def sizes(self, clients: ClientIds) -> np.ndarray:
        """How many examples each of `clients` owns, int64."""
        return (self.offsets[clients + 1] - self.offsets[clients]).astype(np.int64)

    def gather(self, clients: ClientIds) -> tuple[np.ndarray, np.ndarray]:
        """The examples of `clients`, one client after the other (int64), and each one's number (int64)."""
        sizes = self.sizes(clients)
        ends = np.cumsum(sizes)
        within = np.arange(sizes.sum()) - np.repeat(ends - sizes, sizes)
        places = np.repeat(self.offsets[clients].astype(np.int64), sizes) + within
        return self.indices[places].astype(np.int64), sizes


class Partition(Spec, family=True):
    """How the training set is dealt to clients."""

    @abstractmethod
    def split(self, train: Split, classes: int, seed: int) -> Population:
        """Deal `train` to clients; the same seed deals the same."""


class SizedPartition(Partition):
    """A partition into a given number of clients, of a given size."""

    clients: PositiveInt
    """How many clients there are."""
    per_client: PositiveInt | None = None
    """Examples of each client; None shares the training set: ⌊n / clients⌋."""
    replace: bool = False
    """Whether clients may own the same examples, so that there can be more of them than data."""

    def each(self, examples: int) -> int:
        """The examples of one client, checked against what there is."""
        each = self.per_client or examples // self.clients
        if each == 0:
            need = "at most as many clients as examples, or `per_client` and `replace = true`"
            raise DataError(f"{self!r}: expected {need}, found {amount(examples, 'example')}")
        if each * self.clients > MOST:
            found = f"{amount(self.clients, 'client')} of {each}"
            raise DataError(f"{self!r}: expected at most {MOST:,} examples in all, found {found}")
        if not self.replace and each * self.clients > examples:
            need = f"{amount(each * self.clients, 'example')} or `replace = true`"
            raise DataError(f"{self!r}: expected {need}, found {amount(examples, 'example')}")
        return each


def index_type(examples: int) -> np.dtype:
    """The smallest unsigned type that counts `examples` from 0."""
    return np.min_scalar_type(max(examples - 1, 0))


def even_sizes(totals: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Each total cut into its number of parts, whose sizes differ by one at most: int64 `[parts.sum()]`."""
    safe = np.maximum(parts, 1)
    first = np.cumsum(parts) - parts
    place = np.arange(parts.sum()) - np.repeat(first, parts)
    return np.repeat(totals // safe, parts) + (place < np.repeat(totals % safe, parts))


def class_labels(partition: Partition, train: Split) -> np.ndarray:
    """One class per example, which next-token labels are not."""
    if train.y.ndim != 1:
        raise DataError(
            f"{partition!r}: expected one class per example, found {amount(train.y.shape[1], 'token')} each"
        )
    return train.y.cpu().numpy()

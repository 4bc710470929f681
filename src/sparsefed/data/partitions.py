"""Dealing a training set to clients: iid, one class each, Dirichlet, by natural user (audit, section 1.2).

Without `replace` every example goes to one client at most; more clients than the data allow is an
error. With it, each client draws its examples from the whole set (or its class), repeats included.
"""

import numpy as np
from pydantic import PositiveInt

from sparsefed.data.dataset import Split
from sparsefed.data.population import Partition, Population, even_sizes, index_type
from sparsefed.errors import DataError
from sparsefed.seeds import Stream, rng

__all__ = ["IID", "OneClass"]


class _Sized(Partition):
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
            need = "need `per_client` and `replace = true`, or at most as many clients as examples"
            raise DataError(f"{self!r}: {self.clients} clients, {examples} examples; {need}")
        if not self.replace and each * self.clients > examples:
            need = f"{each * self.clients} examples or `replace = true`"
            raise DataError(
                f"{self!r}: {self.clients} clients of {each} need {need}, found {examples} examples"
            )
        return each


class IID(_Sized):
    """Every client gets the same number of examples, at random."""

    def split(self, train: Split, classes: int, seed: int) -> Population:
        n = len(train.y)
        each, draw, dtype = self.each(n), rng(seed, Stream.PARTITION), index_type(n)
        total = self.clients * each
        if self.replace:
            indices = draw.integers(n, size=total, dtype=dtype)
        else:
            indices = draw.permutation(np.arange(n, dtype=dtype))[:total]
        return Population.of_sizes(indices, np.full(self.clients, each))


class OneClass(_Sized):
    """Every client owns examples of a single class; neighbouring clients share it.

    Classes get clients in proportion to their size (largest remainder). A client owns `per_client`
    examples; where a class has too few for that (60,000 MNIST digits in 10,000 × 6: no class is a
    multiple of 6), its clients share what there is as evenly as possible, and some own fewer.
    """

    def split(self, train: Split, classes: int, seed: int) -> Population:
        labels = _class_labels(self, train)
        each, draw, dtype = self.each(len(labels)), rng(seed, Stream.PARTITION), index_type(len(labels))
        totals = np.bincount(labels, minlength=classes)
        clients = _shares(self.clients, totals, totals // each)
        wanted = clients * each
        owned = wanted if self.replace else np.minimum(wanted, totals)
        indices = np.empty(owned.sum(), dtype)
        for label, part in enumerate(np.split(indices, np.cumsum(owned)[:-1])):
            members = np.flatnonzero(labels == label).astype(dtype)
            if self.replace:
                part[:] = members[draw.integers(max(len(members), 1), size=len(part), dtype=dtype)]
            else:
                part[:] = draw.permutation(members)[: len(part)]
        return Population.of_sizes(indices, even_sizes(owned, clients))


def _class_labels(partition: Partition, train: Split) -> np.ndarray:
    if train.y.ndim != 1:
        raise DataError(f"{partition!r} needs one class per example, found {train.y.shape[1]} tokens each")
    return train.y.numpy()


def _shares(clients: int, totals: np.ndarray, room: np.ndarray) -> np.ndarray:
    """`clients` dealt in proportion to `totals` (largest remainder), first where there is `room` for one."""
    share = clients * totals // totals.sum()
    while (left := clients - share.sum()) > 0:
        fits = share < room if (share < room).any() else totals > 0
        lacking = np.where(fits, clients * totals - share * totals.sum(), -np.inf)
        share[np.argsort(-lacking, kind="stable")[: min(left, fits.sum())]] += 1
    return share

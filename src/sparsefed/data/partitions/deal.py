"""Dealing a training set to clients: iid, one class each, by natural user (audit, section 1.2).

Without `replace` every example goes to one client at most; more clients than the data allow is an
error. With it, each client draws its examples from the whole set (or its class), repeats included.
"""

import numpy as np
from pydantic import PositiveInt

from sparsefed.core.errors import DataError
from sparsefed.core.seeds import Stream, rng
from sparsefed.data.dataset import Split
from sparsefed.data.partitions.population import (
    Partition,
    Population,
    SizedPartition,
    class_labels,
    even_sizes,
    index_type,
)

__all__ = ["IID", "Natural", "OneClass"]


class IID(SizedPartition):
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


class OneClass(SizedPartition):
    """Every client owns examples of a single class; neighboring clients share it.

    Classes get clients in proportion to their size (largest remainder). A client owns `per_client`
    examples; where a class has too few for that (60,000 MNIST digits in 10,000 × 6: no class is a
    multiple of 6), its clients share what there is as evenly as possible, and some own fewer.
    """

    def split(self, train: Split, classes: int, seed: int) -> Population:
        labels = class_labels(self, train)
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


class Natural(Partition):
    """Every user of the data (writer, speaker, author) is one client, or several.

    Client ids follow the users' ids. A user of fewer than `per_user` examples makes as many clients.
    """

    per_user: PositiveInt = 1
    """Clients per user; a user's examples are dealt to them at random, as evenly as possible."""

    def split(self, train: Split, classes: int, seed: int) -> Population:
        if train.users is None:
            raise DataError(f"{self!r}: expected the user of each example, found none in this data")
        users, dtype = train.users, index_type(len(train.users))
        order = rng(seed, Stream.PARTITION).permutation(np.arange(len(users), dtype=dtype))
        order = order[np.argsort(users[order], kind="stable")]
        totals = np.unique(users, return_counts=True)[1]
        return Population.of_sizes(order, even_sizes(totals, np.minimum(totals, self.per_user)))


def _shares(clients: int, totals: np.ndarray, room: np.ndarray) -> np.ndarray:
    """`clients` dealt in proportion to `totals` (largest remainder), first where there is `room` for one."""
    share = clients * totals // totals.sum()
    while (left := clients - share.sum()) > 0:
        fits = share < room if (share < room).any() else totals > 0
        lacking = np.where(fits, clients * totals - share * totals.sum(), -np.inf)
        share[np.argsort(-lacking, kind="stable")[: min(left, fits.sum())]] += 1
    return share

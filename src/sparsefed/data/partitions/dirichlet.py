"""Clients whose mixes of classes follow a Dirichlet distribution (Hsu et al., 2019)."""

import numpy as np
from pydantic import PositiveFloat

from sparsefed.core.seeds import Stream, rng
from sparsefed.data.dataset import Split
from sparsefed.data.partitions.population import Population, SizedPartition, class_labels, index_type

__all__ = ["Dirichlet"]


class Dirichlet(SizedPartition):
    """Every client draws its mix of classes from Dir(α · classes · share of each class).

    For balanced classes that is the usual Dir(α, …, α). All clients own equally many examples.
    Without `replace`, an example wanted of a class that is used up comes from the client's other
    classes instead, in its mix's proportions; no client is favored.
    """

    alpha: PositiveFloat
    """α: toward 0 each client has one class, toward ∞ each has the mix of the whole set."""

    def split(self, train: Split, classes: int, seed: int) -> Population:
        labels = class_labels(self, train)
        each, draw, dtype = self.each(len(labels)), rng(seed, Stream.PARTITION), index_type(len(labels))
        totals = np.unique(labels, return_counts=True)[1]
        members = draw.permutation(np.arange(len(labels), dtype=dtype))
        members = members[np.argsort(labels[members], kind="stable")]
        weight = self.alpha * classes
        if self.replace:
            indices = _urn(members, totals, weight, (self.clients, each), draw)
        else:
            mixes = draw.dirichlet(weight * totals / len(labels), size=self.clients)
            indices = _dealt(members, totals, mixes.astype(np.float32), each, draw)
        return Population.of_sizes(indices, np.full(self.clients, each))


def _urn(
    members: np.ndarray, totals: np.ndarray, weight: float, shape: tuple[int, int], draw: np.random.Generator
) -> np.ndarray:
    """Examples drawn with replacement: Pólya's urn, which is the Dirichlet mix without ever drawing it.

    The class of a client's j-th example is that of one of its j earlier ones, each with chance
    1/(α' + j), or else that of any example (α' = α · classes).
    """
    kind_of = np.repeat(np.arange(len(totals), dtype=np.min_scalar_type(len(totals))), totals)
    starts = np.cumsum(totals) - totals
    clients, each = shape
    kinds, indices = np.empty((each, clients), kind_of.dtype), np.empty(shape, members.dtype)
    for j in range(each):
        ball = draw.random(clients) * (weight + j) - weight
        old = np.flatnonzero(ball >= 0)
        kinds[j] = kind_of[draw.integers(len(members), size=clients, dtype=members.dtype)]
        kinds[j, old] = kinds[np.minimum(ball[old].astype(np.int64), j - 1), old]
        place = (draw.random(clients, np.float32) * totals[kinds[j]]).astype(np.int64)
        indices[:, j] = members[starts[kinds[j]] + place]
    return indices.reshape(-1)


def _dealt(
    members: np.ndarray, totals: np.ndarray, mixes: np.ndarray, each: int, draw: np.random.Generator
) -> np.ndarray:
    """Examples dealt without replacement: wishes in random order, each served as long as its class lasts."""
    kinds = np.empty(len(mixes) * each, np.min_scalar_type(len(totals)))
    supply, open_ = totals, draw.permutation(len(kinds))
    while len(open_):
        wanted = _wishes(mixes[open_ // each], supply, draw).astype(kinds.dtype)
        served = _ranks(wanted) < supply[wanted]
        kinds[open_[served]] = wanted[served]
        supply = supply - np.bincount(wanted[served], minlength=len(supply))
        open_ = open_[~served]
    return members[(np.cumsum(totals) - totals)[kinds] + _ranks(kinds)]


def _wishes(mixes: np.ndarray, supply: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """One class from each mix, of those not used up; from what is left where the mix has nothing else."""
    weights = np.where(supply > 0, mixes, 0)
    weights[weights.sum(axis=1) == 0] = supply
    steps = np.cumsum(weights, axis=1)
    drawn = draw.random((len(mixes), 1)) * steps[:, -1:]
    return np.minimum((steps <= drawn).sum(axis=1), len(supply) - 1)


def _ranks(kinds: np.ndarray) -> np.ndarray:
    """How many of the same kind stand before each."""
    counts = np.bincount(kinds)
    order = np.argsort(kinds, kind="stable")
    ranks = np.empty(len(kinds), np.int64)
    ranks[order] = np.arange(len(kinds)) - np.repeat(np.cumsum(counts) - counts, counts)
    return ranks

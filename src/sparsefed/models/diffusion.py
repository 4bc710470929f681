"""Frozen features from the neighborhoods of a public sample: where an example lies on its graph.

Few labels go a long way on such features: examples that many short steps between neighbors connect are close.
"""

from typing import Self

import numpy as np
import torch
from pydantic import Field, PositiveFloat, model_validator
from torch import Tensor
from torch.nn import functional

from sparsefed.core.errors import SpecError
from sparsefed.models.features import Features, Map, RandomConvolutions, in_batches

__all__ = ["Diffusion", "Together", "UnitLength"]


class UnitLength(Features):
    """Other features, each example scaled to length 1: only directions count."""

    of: Features = RandomConvolutions()
    """The features to scale."""

    def raw(self, inputs: Tensor, seed: int) -> Map:
        given = self.of.fitted(inputs, seed)
        return lambda x: functional.normalize(given(x))


class Together(Features):
    """Several features of each example, side by side."""

    of: list[Features] = Field(min_length=1)
    """The features, each of mean length 1."""
    lengths: list[PositiveFloat]
    """What the length of each is multiplied with: the longer, the more a regularized head relies on them."""

    @model_validator(mode="after")
    def _paired(self) -> Self:
        if len(self.lengths) != len(self.of):
            raise ValueError(
                f"expected one of `lengths` for each of `of`, found {len(self.lengths)} for {len(self.of)}"
            )
        return self

    def raw(self, inputs: Tensor, seed: int) -> Map:
        given = [features.fitted(inputs, seed) for features in self.of]
        return lambda x: torch.cat(
            [length * own(x) for length, own in zip(self.lengths, given, strict=True)], 1
        )


class Diffusion(Features):
    """Coordinates on the neighborhood graph of the sample (diffusion maps, Coifman and Lafon, 2006).

    The sample's examples are joined to their nearest by cosine; coordinates are the leading eigenvectors of a
    random walk on the graph, and of any example the weighted mean over its nearest in the sample (Nyström).
    The sample decides more here than the mean and the length of other features: it must be public data.
    """

    of: Features = RandomConvolutions(components=60)
    """The features that say how near examples are."""
    neighbors: int = Field(default=7, gt=1)
    """How many examples of the sample each example is joined to."""
    components: int = Field(default=60, gt=0)
    """How many eigenvectors are kept; the constant one is left out."""
    steps: float = Field(default=2.0, ge=0)
    """A coordinate of eigenvalue e is multiplied by e to this power: steps of the walk."""

    def raw(self, inputs: Tensor, seed: int) -> Map:
        given = self.of.fitted(inputs, seed)

        def direction(x: Tensor) -> Tensor:
            return functional.normalize(given(x))

        sample = in_batches(direction, inputs)
        if len(sample) < self.components + self.neighbors + 1:
            needed = f"a sample of more than `components` + `neighbors` = {self.components + self.neighbors}"
            raise SpecError(f"{self!r}: expected {needed} examples, found {len(sample)}")
        places, weights = self._nearest(sample, sample)
        coordinates = self._coordinates(places.cpu().numpy(), weights.cpu().numpy()).to(sample)

        def located(x: Tensor) -> Tensor:
            places, weights = self._nearest(direction(x), sample)
            return (weights[..., None] * coordinates[places]).sum(1) / weights.sum(1, keepdim=True)

        return located

    def _nearest(self, examples: Tensor, sample: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest of the sample and their weights, `[examples, neighbors]`; 1 for the same direction."""
        found = [part @ sample.T for part in examples.split(500)]
        near, places = (
            torch.cat(parts) for parts in zip(*(s.topk(self.neighbors) for s in found), strict=True)
        )
        distance = 1 - near
        return places, torch.exp(-2 * distance / distance[:, -1:].clamp(min=1e-3))

    def _coordinates(self, places: np.ndarray, weights: np.ndarray) -> Tensor:
        """The leading eigenvectors of the walk on the sample's graph, scaled, `[sample, components]`."""
        from scipy.sparse import csr_matrix, diags
        from scipy.sparse.linalg import eigsh

        count = len(places)
        starts = np.arange(0, places.size + 1, self.neighbors)
        graph = csr_matrix((weights.ravel().astype(np.float64), places.ravel(), starts), shape=(count, count))
        graph = graph.maximum(graph.T)
        root = np.asarray(graph.sum(1))[:, 0] ** -0.5
        values, vectors = eigsh(
            diags(root) @ graph @ diags(root), k=self.components + 1, which="LA", v0=np.ones(count)
        )
        order = np.argsort(-values)[1:]
        scaled = root[:, None] * vectors[:, order] * values[order].clip(0) ** self.steps
        return torch.from_numpy(scaled * count**0.5).float()

"""Frozen features: what is computed once of every example, in front of a head that is trained.

What is trained decides as much as how it is aggregated. An attack on chosen points is memorizing, and needs
directions that no honest client contradicts; smooth features whose spectrum decays leave few of them.
"""

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Self, TypeAlias

import torch
from pydantic import Field, JsonValue, model_validator
from torch import Tensor, nn

from sparsefed.core.code import code_files
from sparsefed.core.errors import SpecError
from sparsefed.core.members import load
from sparsefed.core.seeds import Stream, seeded
from sparsefed.core.spec import Spec
from sparsefed.models.base import image_shape

__all__ = ["Backbone", "Features", "Map", "RandomConvolutions", "in_batches"]

Map: TypeAlias = Callable[[Tensor], Tensor]
"""Inputs `[n, ...]` to features `[n, m]`."""

BATCH = 500


class Features(Spec, family=True):
    """A function of an example that no client trains."""

    function_member: ClassVar[str] = "Backbone"

    sample: int = Field(default=5000, gt=1)
    """Training examples, drawn by the seed and without their labels, that center and scale the features.

    They stand for public data of the same kind: statistics that clients report could be poisoned.
    """

    @abstractmethod
    def raw(self, inputs: Tensor, seed: int) -> Map:
        """The function before it is centered and scaled; `inputs` are the sample. Raises SpecError."""

    def fitted(self, inputs: Tensor, seed: int) -> Map:
        """The features, of mean 0 and mean length 1 on `inputs`, the sample; raises SpecError."""
        raw = self.raw(inputs, seed)
        seen = in_batches(raw, inputs)
        mean = seen.mean(0)
        length = torch.linalg.vector_norm(seen - mean, dim=1).mean()
        if not (bool(length.isfinite()) and length > 0):
            raise SpecError(
                f"{self!r}: expected finite features that differ, found a mean length of {length:g}"
            )
        return lambda x: (raw(x) - mean) / length


class RandomConvolutions(Features):
    """Random convolutions, ReLU and mean pooling; nothing is learned (Saxe et al., 2011)."""

    filters: int = Field(default=32, gt=0)
    """Filters of each convolution, Gaussian, from the seed."""
    kernel: int = Field(default=7, gt=0)
    """Side of a filter, odd, in pixels."""
    depth: int = Field(default=1, gt=0)
    """Convolutions with a ReLU, one after the other."""
    pool: int = Field(default=4, gt=0)
    """Side of the squares over which the last layer is averaged, in pixels."""
    whitening: float = Field(default=0.0, ge=0, le=1)
    """α: a principal component of variance v is divided by √(v^α), 0 leaves the spectrum and 1 flattens it.

    Whitening makes the honest task easier, and memorizing too.
    """
    components: int | None = Field(default=None, gt=0)
    """How many principal components are kept; all if not given."""

    @model_validator(mode="after")
    def _odd(self) -> Self:
        if self.kernel % 2 == 0:
            raise ValueError(f"expected an odd `kernel`, found {self.kernel}")
        return self

    def raw(self, inputs: Tensor, seed: int) -> Map:
        channels, *_ = image_shape("RandomConvolutions", tuple(inputs.shape[1:]), least=self.pool)
        layers: list[nn.Module] = []
        with seeded(seed, Stream.FEATURES), torch.device("cpu"):
            for depth in range(self.depth):
                fan_in = channels if depth == 0 else self.filters
                conv = nn.Conv2d(fan_in, self.filters, self.kernel, padding=self.kernel // 2, bias=False)
                nn.init.normal_(conv.weight, std=(2 / (fan_in * self.kernel**2)) ** 0.5)
                layers += [conv, nn.ReLU()]
        module = nn.Sequential(*layers, nn.AvgPool2d(self.pool), nn.Flatten()).to(inputs.device)
        pooled = frozen(module)
        if self.whitening == 0 and self.components is None:
            return pooled
        basis = self._basis(in_batches(pooled, inputs))
        return lambda x: pooled(x) @ basis

    def _basis(self, features: Tensor) -> Tensor:
        """Principal components as columns, scaled; those that the sample does not show are left out."""
        centered = (features - features.mean(0)).double()
        variances, vectors = torch.linalg.eigh(centered.T @ centered / len(centered))
        variances, vectors = variances.flip(0), vectors.flip(1)
        shown = int((variances > 1e-7 * variances[0]).sum())
        kept = slice(min(self.components or shown, shown))
        return (vectors[:, kept] * (variances[kept] / variances[0]) ** (-self.whitening / 2)).float()


class Backbone(Features):
    """A network of the user's own, frozen: calls `function(input_shape, **options)`, which returns a module.

    `{"type": "my_module:build", "depth": 3}` is short for
    `Backbone(function="my_module:build", options={"depth": 3})`. The module maps inputs `[n, ...]` to
    features, flattened to `[n, m]`, and is used as for evaluation. What it draws follows from the seed.
    """

    function: str
    """Where the function is: `module:name`, importable."""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """Its keyword arguments."""

    @model_validator(mode="after")
    def _can_be_called(self) -> Self:
        if not callable(load(self.function)):
            raise ValueError(f"expected a function, found `{self.function}`, which is none")
        return self

    def raw(self, inputs: Tensor, seed: int) -> Map:
        shape = tuple(inputs.shape[1:])
        try:  # a function and a module of the user's own can raise anything
            with seeded(seed, Stream.FEATURES):
                module = load(self.function)(shape, **self.options)
            features = frozen(module.to(inputs.device))
            found = tuple(features(inputs[:2]).shape[:1])
        except Exception as problem:
            why = f"{type(problem).__name__}: {str(problem).partition(chr(10))[0]}"
            raise SpecError(f"{self!r} given inputs of shape {list(shape)} fails: {why}") from problem
        if found != (len(inputs[:2]),):
            raise SpecError(f"{self!r}: expected a row for each of 2 examples, found {found}")
        return features

    def sources(self) -> dict[str, Path]:
        return code_files(load(self.function))


def frozen(module: nn.Module) -> Map:
    """A module as a function that is never trained, with flat results."""
    module.eval()

    @torch.no_grad()
    def features(x: Tensor) -> Tensor:
        return module(x).flatten(1)

    return features


def in_batches(function: Map, inputs: Tensor) -> Tensor:
    """`function` of many inputs, with bounded memory."""
    return torch.cat([function(part) for part in inputs.split(BATCH)])

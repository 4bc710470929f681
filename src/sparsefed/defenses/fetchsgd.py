"""SparseFed by count sketches: FetchSGD with clipping (Rothchild et al., 2020; Algorithm 10)."""

import math
from functools import lru_cache
from typing import ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from sparsefed.core.errors import SpecError
from sparsefed.core.knobs import Knob, Knobs
from sparsefed.core.seeds import Stream, rng
from sparsefed.core.text import amount
from sparsefed.core.types import Vector
from sparsefed.defenses.base import Defense, check_size, finite_mean_of
from sparsefed.defenses.cost import Cost
from sparsefed.kernels import CountSketch
from sparsefed.protocol.updates import Updates

__all__ = ["FetchSGD", "PaperFetchSGD", "SketchMemory"]


class SketchMemory(NamedTuple):
    """What FetchSGD remembers between rounds, sketched."""

    velocity: Tensor
    """S_u, `[rows, columns]`."""
    error: Tensor
    """S_e, `[rows, columns]`."""
    seed: Tensor
    """The run's seed, from which the hashes follow; one integer."""
    size: Tensor
    """d, how many coordinates are sketched; one integer."""


class FetchSGD(Defense):
    """Clients send sketches of their clipped updates; momentum and error feedback live in the sketch.

    The sketch is linear, so the server computes the sketch of the mean, which is the mean of the sketches;
    under secure aggregation the tables are bounded and added up. λ enters the error. Where the model moves,
    the cells touched in both tables are zeroed: the masking of SparseFed, and error feedback that holds when
    the estimates are off.
    """

    cost: ClassVar[Cost] = Cost("nd + rows · d", "d + rows · columns", sums=1)
    knobs: ClassVar[Knobs] = {
        "momentum": Knob(0, 0.95),
        "k": Knob(1e-4, 0.1, log=True, share_of="params"),
        "error_decay": Knob(0.9, 1),
        "columns": Knob(0.02, 0.3, share_of="params"),
    }

    k: int = Field(gt=0)
    """How many coordinates move in a round."""
    rows: int = Field(default=5, gt=0)
    """r, how many times every coordinate is hashed; its estimate is the median of so many cells."""
    columns: int = Field(default=500_000, gt=0)
    """c, how many cells a row has; an estimate is off by about ‖W‖₂ / √c."""
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """ρ, the share of the velocity that survives a round."""
    error_decay: float = Field(default=1.0, ge=0, le=1)
    """β, the share of the error that survives a round: S_e ← λS_u + βS_e; see `SparseFed`."""

    def init(self, params: Vector, seed: int = 0) -> SketchMemory:
        if self.k > params.numel():
            found = f"expected at most the model's {amount(params.numel(), 'parameter')}, found {self.k}"
            raise SpecError(found, ["k"], type(self).__name__)
        tables = params.new_zeros(2, self.rows, self.columns)
        return SketchMemory(tables[0], tables[1].clone(), torch.tensor(seed), torch.tensor(params.numel()))

    def step(self, updates: Updates, state: SketchMemory, lr: float = 1.0) -> tuple[Vector, SketchMemory]:
        check_size(self, updates, int(state.size))
        sketch = self.sketch(state)
        growth = math.sqrt(self.rows)  # a row of the table is as long as the update, to within hashing noise
        table = finite_mean_of(self, updates, sketch.accumulate, growth, state.velocity)
        velocity = self.momentum * state.velocity + table  # S_u ← ρS_u + S(u)
        error = torch.add(lr * velocity, state.error, alpha=self.error_decay)  # S_e ← λS_u + βS_e
        chosen, values = sketch.top_k(error, self.k)  # Δ ← top_k(U(S_e))
        delta = values.new_zeros(sketch.size)
        delta[chosen] = values
        self._forget(sketch, chosen, delta, velocity, error)
        return delta, SketchMemory(velocity, error, state.seed, state.size)  # θ ← θ − Δ

    def sketch(self, state: SketchMemory) -> CountSketch:
        """The hashes of a run."""
        return _sketch(self.rows, self.columns, int(state.size), int(state.seed))

    def _forget(
        self, sketch: CountSketch, chosen: Tensor, delta: Vector, velocity: Tensor, error: Tensor
    ) -> None:
        """Take out of the tables, in place, what has moved the model."""
        cells = sketch.cells(chosen)
        error.scatter_(1, cells, 0.0)
        velocity.scatter_(1, cells, 0.0)

    def traffic(self, params: int) -> tuple[int, int]:
        """A sketch goes up; k values and their k indices come down."""
        return self.rows * self.columns, 2 * self.k

    def diagnose(
        self,
        updates: Updates,
        state: SketchMemory,
        delta: Vector,
        lr: float = 1.0,
        honest: int | None = None,
    ) -> dict[str, float]:
        """As for every defense, and `error_norm`: ‖W‖₂ of what waits in the error, estimated."""
        report = super().diagnose(updates, state, delta, lr, honest)
        return report | {"error_norm": float(torch.linalg.vector_norm(state.error, dim=1).median())}


class PaperFetchSGD(FetchSGD):
    """Algorithm 10 as printed: S_e ← S_e − S(Δ), and the velocity is left alone."""

    def _forget(
        self, sketch: CountSketch, chosen: Tensor, delta: Vector, velocity: Tensor, error: Tensor
    ) -> None:
        error -= sketch.accumulate(delta)


@lru_cache(maxsize=2)
def _sketch(rows: int, columns: int, size: int, seed: int) -> CountSketch:
    return CountSketch(rows, columns, size, int(rng(seed, Stream.SERVER, 0).integers(2**32)))

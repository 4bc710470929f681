"""Directed deviation against trimmed mean, median and Krum, with full knowledge (Fang et al., 2020)."""

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field

from sparsefed.attacks.base import Method, project
from sparsefed.attacks.view import Grant, View
from sparsefed.core.types import Matrix, Vector
from sparsefed.defenses.krum import Krum, nearest_sums
from sparsefed.kernels import norm_of, row_norms, squared_distances
from sparsefed.protocol.updates import Updates

__all__ = ["FangKrum", "FangTrimmedMean"]


class FangTrimmedMean(Method):
    """Push every coordinate against the honest mean, from just outside the honest values.

    Where the mean is positive the uploads lie below the smallest honest value, elsewhere above the
    largest, up to a factor b away from it. Values are of updates, where the paper has local models.
    """

    needs: ClassVar[Grant] = Grant.HONEST_UPDATES

    factor: float = Field(default=2.0, gt=1)
    """b, how far outside the honest values an upload may lie, as a multiple of the outermost."""

    def craft(self, view: View, generator: torch.Generator) -> Matrix:
        """Every attacker draws its own values, as in the paper; rows longer than L are shortened to L."""
        shape = (view.uploads, len(view.params))
        if view.honest is None or view.honest.count == 0:
            return view.params.new_zeros(shape)  # nothing to deviate from
        edge, beyond = self._interval(view.honest)
        draw = torch.rand(shape, generator=generator, device=generator.device, dtype=edge.dtype)
        rows = edge + draw.to(edge.device) * (beyond - edge)
        return torch.stack([project(row, view.clip_norm) for row in rows])

    def _interval(self, honest: Updates) -> tuple[Vector, Vector]:
        """The outermost honest value of each coordinate, and the farthest that an upload may be."""
        low, high = honest.rows().amin(dim=0), honest.rows().amax(dim=0)  # aminmax takes three times as long
        downwards = honest.mean() > 0
        edge = torch.where(downwards, low, high)
        outwards = (edge < 0) == downwards
        return edge, torch.where(outwards, edge * self.factor, edge / self.factor)


class FangKrum(Method):
    """The largest step −λ·sign(honest mean) that Krum would still select; all colluders send it.

    λ starts at Fang's upper bound (or where the clip ends it) and is halved until Krum falls for it.
    """

    needs: ClassVar[Grant] = Grant.HONEST_UPDATES

    f: int | None = Field(default=None, ge=0)
    """The f of the server's Krum; the number of attackers in the round if not given."""
    halvings: int = Field(default=40, gt=0)
    """How often λ may be halved; then the smallest is sent."""

    def craft(self, view: View, generator: torch.Generator) -> Matrix:
        direction = -view.honest_mean.sign()
        if view.honest is None or view.honest.count == 0:
            return direction.expand(view.uploads, -1)  # nothing to deviate from
        step = self.step(view, view.honest.rows(), direction)
        return (step * direction).expand(view.uploads, -1)

    def step(self, view: View, rows: Matrix, direction: Vector) -> float:
        """λ."""
        duel = _Duel(rows, direction, view.uploads, self.f)
        lam = min(duel.bound(), view.clip_norm / max(float(norm_of(direction)), 1.0))
        for _ in range(self.halvings):
            if duel.won(lam):
                break
            lam /= 2
        return lam


class _Duel:
    """Krum's choice between honest rows and m copies of λ·direction, as a function of λ alone."""

    def __init__(self, rows: Matrix, direction: Vector, attackers: int, f: int | None) -> None:
        self.rule = Krum(f=attackers if f is None else f)
        self.attackers = attackers
        self.squares = row_norms(rows).square().cpu().numpy()
        self.along = (rows @ direction).double().cpu().numpy()
        self.length = float(direction.double().square().sum())
        self.between = squared_distances(rows).double().cpu().numpy()

    def won(self, lam: float) -> bool:
        """Whether Krum selects an attacker's upload."""
        honest, m = len(self.squares), self.attackers
        cross = np.maximum(self.squares - 2 * lam * self.along + lam**2 * self.length, 0)  # ‖uᵢ − λs‖²
        table = np.zeros((honest + m, honest + m))
        table[:honest, :honest] = self.between
        table[:honest, honest:] = cross[:, None]
        table[honest:, :honest] = cross
        return int(self.rule.scores(table).argmin()) >= honest

    def bound(self) -> float:
        """λ above which Krum cannot select an attacker, if it counts all of them in its f."""
        n, m = len(self.squares) + self.attackers, self.attackers
        nearest = min(n - self.rule.f - 2, len(self.squares) - 1)
        best = float(nearest_sums(self.between, nearest).min()) if nearest > 0 else 0.0
        farther = best / max(n - self.rule.f - 1 - m, 1)
        return float((np.sqrt(self.squares.max()) + np.sqrt(farther)) / np.sqrt(max(self.length, 1.0)))

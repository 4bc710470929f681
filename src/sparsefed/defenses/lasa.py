"""LASA: per layer, updates of unusual length or sign are left out (Xu, Zhang and Hu, WACV 2025)."""

from typing import ClassVar

import torch
from pydantic import Field

from sparsefed.core.errors import UpdateError
from sparsefed.core.knobs import Knob, Knobs
from sparsefed.core.types import Matrix, PerClient, Vector
from sparsefed.defenses.base import Aggregate, finite_rows
from sparsefed.defenses.cost import Cost
from sparsefed.kernels import row_norms, top_k
from sparsefed.protocol.updates import Updates

__all__ = ["LASA"]


class LASA(Aggregate):
    """Layer-adaptive filtering of sparsified updates.

    Updates are cut to the median length. A copy keeps its largest coordinates only, and shows for every layer
    how long it is and how many of its signs are positive. Averaged is, layer by layer, who lies within so
    many standard deviations of the median in both. A layer that nobody passes skips the round; the whole
    vector is one layer where none are known. Needs 3 updates.
    """

    needs_rows: ClassVar[bool] = True
    cost: ClassVar[Cost] = Cost("nd log d", "nd", sums=None)
    knobs: ClassVar[Knobs] = {
        **Aggregate.knobs,
        "sparsity": Knob(0.05, 0.95),
        "length_limit": Knob(0.5, 4),
        "sign_limit": Knob(0.5, 4),
    }

    sparsity: float = Field(default=0.3, ge=0, lt=1)
    """The share of each update's coordinates, the smallest, that the filter does not look at."""
    length_limit: float = Field(default=2.0, gt=0)
    """λ_m, how many standard deviations from the median a layer's length may be."""
    sign_limit: float = Field(default=1.0, gt=0)
    """λ_d, the same for the share of positive signs."""

    @property
    def least(self) -> int:
        return 3

    def aggregate(self, updates: Updates) -> Vector:
        rows = finite_rows(self, updates, least=self.least)
        short = rows.shortened(float(rows.norms().median())) if bool(rows.norms().median() > 0) else rows
        kept = self.kept(rows)
        matrix = short.rows()
        parts = zip(matrix.split(_layers(updates), dim=1), kept, strict=True)
        return torch.cat([layer[mask.to(layer.device)].mean(dim=0) for layer, mask in parts])

    def kept(self, updates: Updates) -> list[torch.Tensor]:
        """For every layer, the mask of the clients that are averaged there."""
        rows = updates.rows()
        masks = []
        for place, layer in enumerate(self._sparse(rows).split(_layers(updates), dim=1)):
            lengths = row_norms(layer)
            inside = _near_median(lengths, self.length_limit)
            inside &= _near_median(positive_share(layer), self.sign_limit)
            if not bool(inside.any()):
                expected = f"an update that passes both limits in layer {place}"
                raise UpdateError(f"{self!r}: expected {expected}, found none")
            masks.append(inside.cpu())
        return masks

    def _sparse(self, rows: Matrix) -> Matrix:
        size = rows.shape[1]
        left = torch.zeros_like(rows)
        for row, target in zip(rows, left, strict=True):
            some = top_k(row, max(1, round((1 - self.sparsity) * size)))
            target[some] = row[some]
        return left

    def shares(self, updates: Updates) -> PerClient:
        sizes = torch.tensor(_layers(updates), dtype=torch.float64)
        return sizes @ torch.stack(self.kept(updates)).double() / sizes.sum()


def positive_share(layer: Matrix) -> PerClient:
    """The positive direction purity: of each row's entries that are not 0, the share above 0; ½ of none."""
    signs = layer.sign().double()
    return (1 + signs.sum(dim=1) / signs.abs().sum(dim=1).clamp(min=1)) / 2


def _near_median(values: PerClient, limit: float) -> torch.Tensor:
    """Where |x − median| is at most `limit` standard deviations."""
    spread = values.std(correction=0)
    return (values - values.quantile(0.5)).abs() <= limit * spread


def _layers(updates: Updates) -> list[int]:
    layers = updates.aside.layers
    return [updates.size] if layers is None else list(layers)

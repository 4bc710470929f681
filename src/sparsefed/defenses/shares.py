"""Whose values a coordinate-wise rule lets in, estimated on a sample of the coordinates."""

import torch
from torch import Tensor

from sparsefed.types import Matrix, PerClient
from sparsefed.updates import Dense

__all__ = ["central_shares", "ranked_shares"]

SAMPLE = 1024
"""Coordinates looked at, evenly spaced: a share is then known to within 0.016 (one standard error)."""


def ranked_shares(rows: Dense, first: int, last: int, among: Tensor | None = None) -> PerClient:
    """Per client, the share of coordinates at which its value is of rank `first` … `last` − 1.

    Ranks are counted among the clients `among`, all if not given.
    """
    values, clients = _sample(rows, among)
    return _shares(values, first, last, clients, rows.count)


def central_shares(rows: Dense, count: int, among: Tensor) -> PerClient:
    """Per client, the share of coordinates at which it is among the `count` nearest the median of `among`."""
    values, clients = _sample(rows, among)
    return _shares((values - values.quantile(0.5, dim=0)).abs(), 0, count, clients, rows.count)


def _sample(rows: Dense, among: Tensor | None) -> tuple[Matrix, Tensor]:
    columns = torch.linspace(0, rows.size - 1, min(rows.size, SAMPLE), dtype=torch.float64).long()
    values = rows.matrix[:, columns.to(rows.matrix.device)]
    values = (values if rows.factors is None else values * rows.factors[:, None]).double().cpu()
    clients = torch.arange(rows.count) if among is None else among
    return values[clients], clients


def _shares(values: Matrix, first: int, last: int, clients: Tensor, count: int) -> PerClient:
    kept = clients[values.argsort(dim=0, stable=True)[first:last]]
    return kept.flatten().bincount(minlength=count).double() / values.shape[1]

"""Whose values a coordinate-wise rule lets in, estimated on a sample of the coordinates."""

import numpy as np
import torch
from torch import Tensor

from sparsefed.core.types import PerClient
from sparsefed.protocol.updates import Dense

__all__ = ["central_shares", "ranked_shares"]

SAMPLE = 1024
"""Coordinates looked at, evenly spaced: a share is then known to within 0.016 (one standard error)."""


def ranked_shares(rows: Dense, first: int, last: int, among: Tensor | None = None) -> PerClient:
    """Per client, the share of coordinates at which its value is of rank `first` … `last` − 1.

    Ranks are counted among the clients `among`, all if not given.
    """
    clients = np.arange(rows.count) if among is None else among.numpy()
    return _shares(_sample(rows)[:, clients], first, last, clients, rows.count)


def central_shares(rows: Dense, count: int, among: Tensor) -> PerClient:
    """Per client, the share of coordinates at which it is among the `count` nearest the median of `among`."""
    values = _sample(rows)[:, among.numpy()]
    distances = np.abs(values - np.median(values, axis=1, keepdims=True))
    return _shares(distances, 0, count, among.numpy(), rows.count)


def _sample(rows: Dense) -> np.ndarray:
    """The values of some coordinates, `[coordinates, clients]`."""
    columns = np.unique(np.linspace(0, rows.size - 1, SAMPLE).astype(np.int64))
    values = rows.columns(columns)
    values = values if rows.factors is None else values * rows.factors[:, None]
    return np.ascontiguousarray(values.double().cpu().numpy().T)


def _shares(values: np.ndarray, first: int, last: int, clients: np.ndarray, count: int) -> PerClient:
    kept = clients[values.argsort(axis=1, kind="stable")[:, first:last]]
    return torch.from_numpy(np.bincount(kept.ravel(), minlength=count) / len(values))

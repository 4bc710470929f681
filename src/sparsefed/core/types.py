"""The shapes that the whole project speaks of, written once."""

from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["ClientIds", "Matrix", "PerClient", "Vector"]

Vector: TypeAlias = Float[Tensor, " params"]
"""One model, update or memory, flattened."""

Matrix: TypeAlias = Float[Tensor, "clients params"]
"""One update per row."""

PerClient: TypeAlias = Float[Tensor, " clients"]
"""One number per client, such as its norm or its weight."""

ClientIds: TypeAlias = Int[np.ndarray, " clients"]
"""Positions in the population."""

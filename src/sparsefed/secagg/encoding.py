"""Floats as integers: a sum modulo q is exact, and a bound on integers is a bound on what they stand for."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sparsefed.core.errors import SpecError, UpdateError

__all__ = ["FixedPoint", "squared_norm"]

_PART = 1 << 20


@dataclass(frozen=True)
class FixedPoint:
    """Vectors of ℓ2 norm at most `norm`, in multiples of a power of two, rounded toward zero.

    Rounding never makes a vector longer, and moves it by at most √d · 2^(1 − bits) · `norm`.
    """

    norm: float
    """L, the ℓ2 bound on a vector."""
    bits: int = 24
    """Bits of the integer bound; 24 is the most for which the proofs hold."""

    def __post_init__(self) -> None:
        if not 0 < self.norm < math.inf:
            raise SpecError(f"expected a finite norm above 0, found {self.norm}")
        if not 8 <= self.bits <= 24:
            raise SpecError(f"expected 8 to 24 bits, found {self.bits}")

    @cached_property
    def scale(self) -> float:
        """2^f: 1 is encoded as this integer."""
        return math.ldexp(1.0, self.bits - math.frexp(self.norm)[1])

    @cached_property
    def bound(self) -> int:
        """The integer bound, between 2^(bits − 1) and 2^bits."""
        return math.floor(self.norm * self.scale)

    def encode(self, vector: np.ndarray) -> np.ndarray:
        """The integers of a vector, int64; a longer one is shortened to `norm`, as a server's clip would do.

        Raises `UpdateError` where a number is not finite.
        """
        numbers = vector.astype(np.float64)
        largest = float(np.abs(numbers).max(initial=0))
        if not math.isfinite(largest):
            raise UpdateError("expected finite numbers, found some that are not")
        if largest > self.norm:  # its square may not be finite
            numbers = numbers / largest * self.norm
        length = float(np.linalg.norm(numbers))
        if length > self.norm:
            numbers *= self.norm / length
        integers = np.trunc(numbers * self.scale).astype(np.int64)
        while (square := squared_norm(integers)) > self.bound**2:  # by what floats have rounded up
            integers = np.trunc(integers * (self.bound / math.sqrt(square) * (1 - 2**-50))).astype(np.int64)
        return integers

    def decode(self, integers: np.ndarray) -> np.ndarray:
        """What integers, or a sum of some, stand for, float64."""
        return integers / self.scale


def squared_norm(integers: np.ndarray) -> int:
    """The exact squared norm of integers, each below 2³¹, and at most 2⁶² in any part of 2²⁰ of them."""
    parts = np.array_split(integers, -(-len(integers) // _PART) or 1)
    return sum(int(np.vdot(part, part)) for part in parts)

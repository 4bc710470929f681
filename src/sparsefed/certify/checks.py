"""The border of the certificate: numbers that are what the theory needs, or one clear line."""

import math
from numbers import Real
from typing import Any

import numpy as np

from sparsefed.core.errors import SpecError
from sparsefed.core.text import amount

__all__ = ["fraction", "learning_rates", "nonnegative", "per_round", "whole"]


def learning_rates(lrs: Any) -> np.ndarray:
    """λ_t as `[rounds]`; SpecError for a single number, an empty list, or a rate that is not positive."""
    rates = _numbers("lrs", lrs)
    if rates.ndim != 1 or len(rates) == 0:
        raise SpecError(f"lrs: expected one learning rate per round ([0.1] * rounds, say), found {lrs!r}")
    bad = np.flatnonzero(~(np.isfinite(rates) & (rates > 0)))
    if len(bad):
        raise SpecError(
            f"lrs: expected finite learning rates above 0, found {rates[bad[0]]} in round {bad[0] + 1}"
        )
    return rates


def per_round(name: str, value: Any, rounds: int) -> np.ndarray:
    """A number, or one per round, as `[rounds]`; SpecError unless finite and at least 0."""
    numbers = _numbers(name, value)
    if numbers.shape not in ((), (rounds,)):
        needed = f"one number or one for each of the {amount(rounds, 'round')}"
        raise SpecError(f"{name}: expected {needed}, found shape {list(numbers.shape)}")
    numbers = np.broadcast_to(numbers, (rounds,))
    bad = np.flatnonzero(~(np.isfinite(numbers) & (numbers >= 0)))
    if len(bad):
        raise SpecError(f"{name}: expected finite numbers of at least 0, found {numbers[bad[0]]}")
    return numbers


def nonnegative(name: str, value: Any) -> float:
    """A finite number of at least 0."""
    number = _numbers(name, value)
    if number.ndim or not (np.isfinite(number) and number >= 0):
        raise SpecError(f"{name}: expected a finite number of at least 0, found {value!r}")
    return float(number)


def fraction(name: str, value: Any) -> float:
    """A number in [0, 1): a momentum, or a share of mass that is lost."""
    if not isinstance(value, Real) or not 0 <= float(value) < 1:
        raise SpecError(f"{name}: expected a number of at least 0 and below 1, found {value!r}")
    return float(value)


def whole(name: str, value: Any, least: int = 1, most: float = math.inf) -> int:
    """A whole number between `least` and `most`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= most:
        limits = f"at least {least}" if most == math.inf else f"between {least} and {most:g}"
        raise SpecError(f"{name}: expected a whole number of {limits}, found {value!r}")
    return int(value)


def _numbers(name: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise SpecError(f"{name}: expected numbers, found {value!r}") from None

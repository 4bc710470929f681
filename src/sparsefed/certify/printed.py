"""What the paper prints, beside `radius`: Theorems 1 and 2 and the listing of Algorithm 3, with a flag.

The theorems' last step uses (1 + aλ) ≤ (1 + a)^λ, which is Bernoulli's inequality only for λ ≥ 1 and
is reversed below: with the paper's own λ ≤ 0.2 the closed form is no bound. The listing adds γ once,
where Lemma 1 needs it for each of the two runs.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from sparsefed.certify.checks import learning_rates, nonnegative
from sparsefed.certify.radius import log_radius, width

__all__ = ["Printed", "algorithm3", "theorem1", "theorem2"]


class Printed(NamedTuple):
    """A printed value, and whether the paper's argument for it holds here."""

    log_radius: float
    """Natural logarithm of the printed expression."""
    valid: bool
    """False: do not rely on it; the distance can be larger."""
    reason: str
    """Why, in one line."""


def theorem1(lrs: Any, *, lipschitz: float, params: int, budget: float) -> Printed:
    """Λ (1 + dc)^Λ ρ, for the dense protocol; valid only if all λ_t ≥ 1."""
    return theorem2(lrs, lipschitz=lipschitz, params=params, k=None, budget=budget)


def theorem2(
    lrs: Any, *, lipschitz: float, params: int, k: int | None, budget: float, gamma: float = 0.0
) -> Printed:
    """Λ (1 + wc)^Λ (ρ + 2γ) with w = min(d, 2k); valid only if all λ_t ≥ 1."""
    lrs = learning_rates(lrs)
    growth = nonnegative("lipschitz", lipschitz) * width(params, k)
    shock = nonnegative("budget", budget) + 2 * nonnegative("gamma", gamma)
    total = float(lrs.sum())  # Λ(T)
    value = math.log(total) + total * math.log1p(growth) + (math.log(shock) if shock else -math.inf)
    if (lrs >= 1).all():
        return Printed(value, True, "all λ ≥ 1")
    return Printed(value, False, f"needs all λ ≥ 1, least is {lrs.min():g}")


def algorithm3(
    lrs: Any, *, lipschitz: float, params: int, k: int, budget: float, gamma: float = 0.0
) -> Printed:
    """The listing, its undefined ε read as ρ: r ← r (1 + 2λck) + λ (ρ + γ); valid only if γ = 0."""
    lrs, width_checked = learning_rates(lrs), width(params, k)
    shock = nonnegative("budget", budget) + nonnegative("gamma", gamma)
    rate = nonnegative("lipschitz", lipschitz) * 2 * k / width_checked  # the listing forgets min(d, 2k)
    value = log_radius(lrs, lipschitz=rate, params=params, k=k, budget=np.full(len(lrs), shock))
    if gamma == 0:
        return Printed(value, True, "γ is 0")
    return Printed(value, False, f"counts γ once where Lemma 1 needs it twice, γ is {gamma:g}")

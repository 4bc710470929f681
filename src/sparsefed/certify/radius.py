"""The certified radius: how far poisoning within a budget can move the model (Theorem 4; Algorithm 3).

Two runs of one protocol, one of them poisoned, stay within ℓ1 distance r_t of each other, where

    r ← r (1 + a λ_t) + λ_t (ρ_t + 2 γ_t),    a = c · min(d, 2k),

starting from r = 0. This is what the paper's proof shows (its equation 3); the closed form that it
prints does not follow for λ < 1 and lives in `printed`. Everything here is in logarithms.

What the paper prints, beside `radius`: Theorems 1 and 2 and the listing of Algorithm 3, with a flag.

The theorems' last step uses (1 + aλ) ≤ (1 + a)^λ, which is Bernoulli's inequality only for λ ≥ 1 and
is reversed below: with the paper's own λ ≤ 0.2 the closed form is no bound. The listing adds γ once,
where Lemma 1 needs it for each of the two runs.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from sparsefed.certify.checks import fraction, learning_rates, nonnegative, per_round, whole
from sparsefed.core.errors import SpecError

__all__ = ["Printed", "algorithm3", "log_radii", "log_radius", "log_weights", "theorem1", "theorem2", "width"]


def width(params: int, k: int | None = None) -> int:
    """min(d, 2k): how many coordinates the two runs can move in one round; d for the dense protocol.

    Raises SpecError where k is not between 1 and d.
    """
    params = whole("params", params)
    if k is None:
        return params
    if not isinstance(k, bool) and isinstance(k, int | np.integer) and k > params:
        raise SpecError(f"k: expected at most the number of parameters, {params}, found {k}")
    return min(params, 2 * whole("k", k))


def log_radius(
    lrs: Any,
    *,
    lipschitz: Any,
    params: int,
    k: int | None = None,
    budget: Any,
    gamma: Any = 0.0,
    momentum: float = 0.0,
) -> float:
    """Natural logarithm of a bound on ‖θ_T − θ*_T‖₁; −inf where the radius is 0.

    `lrs` are the learning rates λ_t that the server multiplies with, one per round; `lipschitz` is the
    coordinatewise constant c of Definition 3, `budget` is ρ (the ℓ1 mass of the poison on the
    min(d, 2k) coordinates that move) and `gamma` is γ of Definition 4, for *both* runs: each a number
    or one per round. `k = None` or `k = params` is the dense protocol, for which γ may be 0.
    `momentum` is the heavy ball of the dense protocol, followed exactly; SparseFed's momentum belongs
    in γ (`sparsity.prior_gamma`).

    Raises SpecError for λ ≤ 0, k > d, negative or non-finite numbers, and momentum outside [0, 1).
    """
    path = log_radii(
        lrs, lipschitz=lipschitz, params=params, k=k, budget=budget, gamma=gamma, momentum=momentum
    )
    return float(path[-1])


def log_radii(
    lrs: Any,
    *,
    lipschitz: Any,
    params: int,
    k: int | None = None,
    budget: Any,
    gamma: Any = 0.0,
    momentum: float = 0.0,
) -> np.ndarray:
    """The logarithm of the radius after every round, `[rounds]`; arguments as in `log_radius`."""
    lrs = learning_rates(lrs)
    rounds, moving = len(lrs), width(params, k)
    momentum = fraction("momentum", momentum)
    if momentum > 0 and moving < params:
        needed = "expected the dense protocol (k = params) for momentum inside the recursion"
        raise SpecError(f"{needed}, found k={k}; put SparseFed's momentum into gamma")
    poison, residue = per_round("budget", budget, rounds), per_round("gamma", gamma, rounds)
    shock = np.logaddexp(_log(poison), math.log(2) + _log(residue))  # log(ρ + 2γ)
    growth = _log(per_round("lipschitz", lipschitz, rounds)) + math.log(moving)  # log a
    return _recursion(_log(lrs), growth, shock, float(_log(np.array(momentum))))


def log_weights(lrs: Any, *, growth: Any, momentum: float = 0.0) -> np.ndarray:
    """Logarithms of what one unit of ρ_t adds to the final radius, `[rounds]`.

    The radius is linear in the shocks: R = Σ_t weight_t (ρ_t + 2γ_t); without momentum a weight is
    λ_t Π_{s>t} (1 + a λ_s). `growth` is a, one number or one per round. Raises SpecError as `log_radius`.
    """
    lrs = learning_rates(lrs)
    growth = _log(per_round("growth", growth, len(lrs)))
    decay = float(_log(np.array(fraction("momentum", momentum))))
    weights = np.empty(len(lrs))
    radius, speed = 0.0, -math.inf  # what a unit of r, and of v, after the round adds in the end
    for t in reversed(range(len(lrs))):
        weights[t] = np.logaddexp(speed, math.log(lrs[t]) + radius)
        radius = np.logaddexp(radius, growth[t] + weights[t])
        speed = decay + weights[t]
    return weights


def _log(numbers: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):  # log 0 = −inf is meant
        return np.log(numbers)


def _recursion(rates: np.ndarray, growth: np.ndarray, shock: np.ndarray, decay: float) -> np.ndarray:
    """R ← r + λ v with v ← μ v + a r + β, in logarithms; for μ = 0 this is Algorithm 3, corrected."""
    path = np.empty(len(rates))
    radius = speed = -math.inf
    for t, (rate, factor, added) in enumerate(zip(rates, growth, shock, strict=True)):
        step = np.logaddexp(factor + radius, added)  # a r + ρ + 2γ
        speed = np.logaddexp(decay + speed, step)
        radius = np.logaddexp(radius, rate + speed)
        path[t] = radius
    return path


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

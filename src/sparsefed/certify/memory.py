"""Two certificates for SparseFed that the paper does not have: its memory counts once, not every round.

Without momentum Δ_t = u_t + W_t − W_{t+1}, so summing by parts over the rounds

    Σ λ_t Δ_t = Σ λ_t u_t + Σ_{t≥2} (λ_t − λ_{t−1}) W_t − λ_T W_{T+1}:

the model is where plain averaging of the same updates would have put it, up to h_T sup‖W‖ with
h_T = λ_T + Σ|λ_t − λ_{t−1}|. Two runs differ by at most twice that, beside what their updates differ by.

* ℓ1: the dense recursion, with 2ah_{t−1} sup‖W‖₁ more budget in round t, and 2h_T sup‖W‖₁ at the end.
* ℓ2, convex and ℓ-smooth loss, λ ≤ 2/ℓ, no honest update clipped: a gradient step is nonexpansive
  (Hardt, Recht and Singer, 2016), so nothing grows and neither d nor k is in front.
"""

import math
from typing import Any

import numpy as np

from sparsefed.certify.checks import learning_rates, nonnegative, per_round
from sparsefed.certify.radius import log_radii, width
from sparsefed.core.errors import SpecError

__all__ = ["convex_radii", "error_bound_l2", "log_memory_radii", "memory_weights"]


def memory_weights(lrs: Any) -> np.ndarray:
    """h_t = λ_t + Σ_{2≤s≤t} |λ_s − λ_{s−1}| after every round, `[rounds]`; λ itself where it is constant."""
    lrs = learning_rates(lrs)
    return lrs + np.concatenate([[0.0], np.cumsum(np.abs(np.diff(lrs)))])


def log_memory_radii(lrs: Any, *, growth: Any, budget: Any, memory: float) -> np.ndarray:
    """Natural logarithms of SparseFed's ℓ1 radius after every round, `[rounds]`, without momentum.

    `growth` is the *dense* a, of all d coordinates, `budget` the ρ of all d, each a number or one per
    round; `memory` bounds ‖W‖₁ in both runs (`sparsity.memory_bound`). Raises SpecError as `log_radius`.
    """
    weights, kept = memory_weights(lrs), 2 * nonnegative("memory", memory)
    growth = per_round("growth", growth, len(weights))
    before = np.concatenate([[0.0], weights[:-1]])  # h_{t−1}; nothing is remembered in the first round
    added = per_round("budget", budget, len(weights)) + growth * before * kept
    moved = log_radii(lrs, lipschitz=growth, params=1, budget=added)
    return np.logaddexp(moved, np.log(weights * kept)) if kept else moved


def error_bound_l2(params: int, k: int, length: float) -> float:
    """sup‖W‖₂ without momentum, for aggregated updates of ℓ2 norm at most `length` (L always is).

    Top-k leaves at most q² = 1 − k/d of the squared norm, so ‖W‖ ≤ q(‖W‖ + length) in every round.
    """
    width(params, k)
    left = math.sqrt(1 - k / params)
    return nonnegative("length", length) * left / (1 - left)


def convex_radii(lrs: Any, *, smoothness: Any, budget: Any, memory: float = 0.0) -> np.ndarray:
    """ℓ2 radii after every round, `[rounds]`, for a convex loss and a server without momentum.

    `smoothness` is ℓ of the mean loss of a round, `budget` its ℓ2 poison (`budget.l2_budget`), `memory`
    bounds ‖W‖₂ (`error_bound_l2`; 0 for the plain mean). Raises SpecError where some λ_t > 2/ℓ.
    """
    lrs = learning_rates(lrs)
    smoothness = per_round("smoothness", smoothness, len(lrs))
    steep = np.flatnonzero(lrs * smoothness > 2)
    if len(steep):
        t = steep[0]
        needed = f"learning rates of at most 2/smoothness = {2 / smoothness[t]:g}"
        raise SpecError(f"convex_radii needs {needed}, got {lrs[t]:g} in round {t + 1}")
    weights, kept = memory_weights(lrs), 2 * nonnegative("memory", memory)
    lag = np.concatenate([[0.0], lrs[:-1]]) * kept  # ‖(θ − λW) − θ‖ in both runs: gradients are taken at θ
    moved = np.cumsum(lrs * (per_round("budget", budget, len(lrs)) + smoothness * lag))
    return moved + weights * kept

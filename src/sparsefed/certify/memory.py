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

__all__ = ["convex_radii", "error_bound_l2", "held", "log_memory_radii", "memory_weights"]


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


def error_bound_l2(params: int, k: int, length: float, decay: float = 1.0) -> float:
    """sup‖W‖₂ for what enters the error at ℓ2 norm at most `length`: L, or L/(1 − μ) with momentum.

    Top-k leaves at most q² = 1 − k/d of the squared norm, so ‖W‖ ≤ q(β‖W‖ + length) in every round, where
    β is `decay`.
    """
    width(params, k)
    left = math.sqrt(1 - k / params)
    return nonnegative("length", length) * left / (1 - left * nonnegative("decay", decay))


def convex_radii(
    lrs: Any, *, smoothness: Any, budget: Any, memory: float = 0.0, stiffness: Any = 0.0
) -> np.ndarray:
    """ℓ2 radii after every round, `[rounds]`, for a convex loss and a server without momentum.

    `smoothness` is ℓ of the mean loss of a round, `budget` its ℓ2 poison (`budget.l2_budget`), `memory`
    bounds ‖W‖₂ (`error_bound_l2`; 0 for the plain mean), `stiffness` is the anchor's η, with which a step is
    a contraction and the mean's radius at most budget/η in every round (`docs/anchor.md`). Raises SpecError
    where some λ_t > 2/(ℓ + η).
    """
    lrs = learning_rates(lrs)
    stiffness = per_round("stiffness", stiffness, len(lrs))
    curvature = per_round("smoothness", smoothness, len(lrs)) + stiffness
    steep = np.flatnonzero(lrs * curvature > 2)
    if len(steep):
        t = steep[0]
        name = "2/(smoothness + stiffness)" if stiffness.any() else "2/smoothness"
        needed = f"learning rates of at most {name} = {2 / curvature[t]:g}"
        raise SpecError(f"convex_radii: expected {needed}, found {lrs[t]:g} in round {t + 1}")
    kept = 2 * nonnegative("memory", memory)
    before = np.concatenate([[0.0], lrs[:-1]])
    # θ − λW takes the steps of plain averaging, with gradients and pulls taken at θ, λW away, in both runs
    added = lrs * (per_round("budget", budget, len(lrs)) + curvature * before * kept)
    added[1:] += np.abs(np.diff(lrs)) * kept
    shrink = np.maximum(1 - lrs * stiffness, lrs * curvature - 1)
    return _accumulated(shrink, added) + lrs * kept


def held(lrs: Any, *, stiffness: Any, push: Any, memory: float = 0.0, decay: float = 1.0) -> np.ndarray:
    """How far a steady push can have moved an anchored model after each round, in ℓ2, `[rounds]`.

    `push` bounds the velocity that attackers cause, pL/(1 − μ), one number or one per round; `memory` bounds
    ‖W‖₂ of SparseFed (`error_bound_l2`) and `decay` is its β. For the mean at most push/η, whatever the
    rounds. Raises SpecError where λη > 1.
    """
    lrs = learning_rates(lrs)
    kept, shrink = nonnegative("memory", memory), 1 - lrs * per_round("stiffness", stiffness, len(lrs))
    if shrink.min() < 0:
        raise SpecError(f"held: expected a stiffness of at most 1/λ, found {1 - shrink.min():.3g} times that")
    added = lrs * per_round("push", push, len(lrs))
    added[1:] += np.abs(nonnegative("decay", decay) * lrs[1:] - shrink[1:] * lrs[:-1]) * kept
    return _accumulated(shrink, added) + lrs * kept


def _accumulated(shrink: np.ndarray, added: np.ndarray) -> np.ndarray:
    """R ← shrink · r + added, from r = 0, after every round."""
    path, radius = np.empty(len(added)), 0.0
    for t, (factor, more) in enumerate(zip(shrink.tolist(), added.tolist(), strict=True)):
        path[t] = radius = factor * radius + more
    return path

"""From a radius to predictions: which test points no poisoning within the budget can turn.

For a linear model the gap between logits y and j changes by (Δθ_y − Δθ_j)·x. In ℓ1 that is at most
‖Δθ_y‖₁‖x‖∞ + ‖Δθ_j‖₁‖x‖∞ ≤ ‖Δθ‖₁ ‖x‖∞, attained by moving one weight; in ℓ2 at most √2 ‖x‖₂ ‖Δθ‖₂,
attained by moving rows y and j apart. So a prediction survives R where its gap is above R times that
reach. With a bias, x has one more feature, which is 1. For other models there is no such bound here.
"""

import math

import torch
from torch import Tensor

from sparsefed.errors import SpecError

__all__ = ["certified_accuracy", "gaps", "l1_reach", "l2_reach", "surviving"]


def l1_reach(inputs: Tensor) -> Tensor:
    """‖x‖∞ of each row of `[points, features]`: the most that a unit of ‖Δθ‖₁ changes a gap."""
    return inputs.double().abs().amax(1)


def l2_reach(inputs: Tensor) -> Tensor:
    """√2 ‖x‖₂ of each row: the most that a unit of ‖Δθ‖₂ changes a gap."""
    return math.sqrt(2) * torch.linalg.vector_norm(inputs.double(), dim=1)


def gaps(logits: Tensor, labels: Tensor) -> Tensor:
    """How far the logit of each label is above the best other one; negative where the model is wrong."""
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or logits.shape[1] < 2:
        found = f"{list(logits.shape)} and {list(labels.shape)}"
        raise SpecError(f"gaps needs logits [points, classes] and labels [points], got {found}")
    logits = logits.double()
    own = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -math.inf)
    return (own - others.amax(1, keepdim=True)).squeeze(1)


def surviving(gap: Tensor, reach: Tensor, log_radius: float) -> Tensor:
    """Where gap > reach · R, bool; R is given by its logarithm, as it may not fit a float."""
    if math.isnan(log_radius):
        raise SpecError("a radius is needed, got NaN")
    return (gap > 0) & (gap.log() > reach.log() + log_radius)


def certified_accuracy(logits: Tensor, labels: Tensor, reach: Tensor, log_radius: float) -> float:
    """Percent of points that are right and stay right under every attack within the radius."""
    return 100 * float(surviving(gaps(logits, labels), reach, log_radius).double().mean())

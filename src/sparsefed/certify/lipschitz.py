"""How much honest updates can change with the model: the constant c of Definition 3, and its relatives.

For softmax regression on one example x with probabilities p, the second derivatives of the loss are
H[(i, j), (k, l)] = pᵢ (δᵢₖ − pₖ) xⱼ xₗ, at most |xⱼ xₗ|/4 (the paper's equation 9 has the sign wrong off
the diagonal; the maximum is the same). By the mean value theorem and Hölder's inequality every bound on
H that holds for all p is one on the change of the gradient, and averages over examples stay outside:

* one coordinate: c = max_jl E|xⱼ xₗ|/4 = max_j E[xⱼ²]/4 (Cauchy–Schwarz puts the maximum there);
* all of them: a column (k, l) sums to at most 2 p_k (1 − p_k) |xₗ| ‖x‖₁, so a = max_l E[|xₗ| ‖x‖₁]/2,
  which is far below c·d.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sparsefed.certify.checks import nonnegative, per_round, whole
from sparsefed.errors import SpecError

__all__ = ["Oracle", "local_steps", "softmax_lipschitz", "softmax_oracle"]


def softmax_lipschitz(scale: float) -> float:
    """C = s²/4 for softmax regression on inputs in [−s, s]: the paper's 1/4 at s = 1 (Example 1)."""
    return nonnegative("scale", scale) ** 2 / 4


class Oracle(NamedTuple):
    """What is known of 𝒢 in a round: by how much honest updates change when the model moves."""

    coordinate: float
    """c: any coordinate of the mean update changes by at most c ‖θ − θ*‖₁."""
    total: float
    """All coordinates of it together change by at most `total` times ‖θ − θ*‖₁, in ℓ1; at most c·d."""
    stretch: float
    """One client's update changes by at most `stretch` times ‖θ − θ*‖₁, in ℓ2."""
    mean_stretch: float
    """The mean over clients of that factor."""
    smoothness: float = math.inf
    """ℓ: the mean update changes by at most ℓ ‖θ − θ*‖₂ in ℓ2. Finite only if the loss is convex."""
    stretch_l2: float = math.inf
    """One client's update changes by at most `stretch_l2` times ‖θ − θ*‖₂, in ℓ2."""
    mass: float = math.inf
    """The mean update has at most this ℓ1 norm, whatever the model."""

    @classmethod
    def claimed(cls, lipschitz: float, params: int) -> "Oracle":
        """What follows from a c of the user's own, if every single client obeys it."""
        c, params = nonnegative("lipschitz", lipschitz), whole("params", params)
        return cls(c, params * c, math.sqrt(params) * c, math.sqrt(params) * c)

    def over(self, moving: int) -> float:
        """A for `moving` coordinates (`radius.width`) where no honest update is clipped."""
        return min(moving * self.coordinate, self.total)

    def clipped(self, moving: int) -> float:
        """A where honest updates may be clipped: the clip is nonexpansive in ℓ2 only, then √w to ℓ1.

        For a claimed c this is √(w d) c: the gain of sparsity shrinks from d/w to √(d/w).
        """
        return math.sqrt(moving) * self.mean_stretch

    def scaled(self, factor: float, decay: float = 0.0) -> "Oracle":
        """The oracle of `factor` times (the same updates + `decay`·θ)."""
        grown = (factor * (rate + decay) for rate in self[:-1])
        return self._make((*grown, math.inf if decay else factor * self.mass))


def softmax_oracle(inputs: Tensor, weights: Tensor | None = None) -> Oracle:
    """The oracle of softmax regression without bias; a bias is one more feature, which is 1.

    `inputs` `[examples, features]` are the examples of a round; `weights` `[examples]` sum to 1: an
    example of a client with b examples weighs 1/(nb); equal if not given.
    """
    if inputs.ndim != 2 or len(inputs) == 0 or not bool(inputs.isfinite().all()):
        needed = "finite inputs [examples, features] of at least one example"
        raise SpecError(f"softmax_oracle needs {needed}, got shape {list(inputs.shape)}")
    size = inputs.double().abs()
    if weights is None:
        weights = torch.full((len(size),), 1 / len(size), dtype=size.dtype, device=size.device)
    if len(weights) != len(size) or abs(float(weights.sum()) - 1) > 1e-9:
        raise SpecError(f"softmax_oracle needs {len(size)} weights of sum 1, got {len(weights)}")
    squares, sums = size.square(), size.sum(1)
    total = float(((weights * sums) @ size).max()) / 2
    stretches = math.sqrt(2) / 4 * size.amax(1) * squares.sum(1).sqrt()  # p_k ‖e_k − p‖₂ ≤ √2/4
    return Oracle(
        coordinate=float((weights @ squares).max()) / 4,
        total=total,
        stretch=float(stretches.max()),
        mean_stretch=float(weights @ stretches),
        smoothness=min(float(weights @ squares.sum(1)) / 2, total),  # diag(p) − ppᵀ ≼ I/2; ‖E xxᵀ‖ ≤ 2·total
        stretch_l2=float(squares.sum(1).max()) / 2,
        mass=2 * float(weights @ sums),  # ‖p − y‖₁ ≤ 2
    )


def local_steps(growth: float, local_lrs: object) -> float:
    """What to multiply c with for FedAvg: Σ_m γ_m Π_{s<m} (1 + a γ_s), for local steps of rates γ.

    `growth` is a for all d coordinates and every batch that a client may meet. One step gives γ: c·λ.
    """
    rates = per_round("local_lrs", local_lrs, np.size(np.asarray(local_lrs)))
    grown = np.cumprod(1 + nonnegative("growth", growth) * rates)
    return float(rates[0] + rates[1:] @ grown[:-1])

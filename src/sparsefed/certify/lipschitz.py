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
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sparsefed.certify.checks import nonnegative, per_round, whole
from sparsefed.core.errors import SpecError
from sparsefed.kernels import add_at

__all__ = ["Oracle", "local_steps", "softmax_lipschitz", "softmax_oracle"]


def softmax_lipschitz(scale: float) -> float:
    """C = s²/4 for softmax regression on inputs in [−s, s]: the paper's 1/4 at s = 1 (Example 1)."""
    return nonnegative("scale", scale) ** 2 / 4


class Oracle(NamedTuple):
    """The constants of 𝒢 in a round: by how much honest updates change when the model moves."""

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
    length: float = math.inf
    """No honest update is longer than this, in ℓ2, whatever the model."""
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
        *rates, length, mass = self
        sizes = (math.inf, math.inf) if decay else (factor * length, factor * mass)
        return self._make((*(factor * (rate + decay) for rate in rates), *sizes))


def softmax_oracle(inputs: Tensor, sizes: Any = None) -> Oracle:
    """The oracle of softmax regression without bias; a bias is one more feature, which is 1.

    `inputs` `[examples, features]` are the examples of a round, one client after the other; `sizes`
    `[clients]` says how many each has. Not given, one client has them all.
    """
    if inputs.ndim != 2 or len(inputs) == 0 or not bool(inputs.isfinite().all()):
        needed = "finite inputs [examples, features] of at least one example"
        raise SpecError(f"softmax_oracle: expected {needed}, found shape {list(inputs.shape)}")
    x = inputs.double().abs()
    owned = torch.as_tensor([len(x)] if sizes is None else sizes, device=x.device)
    if int(owned.sum()) != len(x) or int(owned.min()) < 1:
        raise SpecError(
            f"softmax_oracle: expected positive sizes of sum {len(x)}, found sum {int(owned.sum())}"
        )

    def per_client(values: Tensor) -> Tensor:
        """The mean over each client's own examples."""
        owners = torch.arange(len(owned), device=x.device).repeat_interleave(owned)
        sums = values.new_zeros(len(owned), *values.shape[1:])
        add_at(sums, owners, values)
        return sums / owned.view(-1, *[1] * (values.ndim - 1))

    squares = per_client(x.square())
    products = per_client(x * x.sum(1, keepdim=True))  # E[|xₗ| ‖x‖₁]; half its maximum bounds ‖H‖₁ and ‖H‖₂
    lengths = x.square().sum(1).sqrt()
    stretches = per_client(math.sqrt(2) / 4 * x.amax(1) * lengths)  # p_k ‖e_k − p‖₂ ≤ √2/4
    total = float(products.mean(0).max()) / 2
    return Oracle(
        coordinate=float(squares.mean(0).max()) / 4,
        total=total,
        stretch=float(stretches.max()),
        mean_stretch=float(stretches.mean()),
        smoothness=min(float(squares.sum(1).mean()) / 2, total),  # diag(p) − ppᵀ is at most I/2
        stretch_l2=float(torch.minimum(squares.sum(1), products.amax(1)).max()) / 2,
        length=math.sqrt(2) * float(per_client(lengths).max()),  # ‖p − y‖₂ ≤ √2
        mass=2 * float(per_client(x.sum(1)).mean()),  # ‖p − y‖₁ ≤ 2
    )


def local_steps(growth: float, local_lrs: object) -> float:
    """What to multiply c with for FedAvg: Σ_m γ_m Π_{s<m} (1 + a γ_s), for local steps of rates γ.

    `growth` is a for all d coordinates and every batch that a client may meet. One step gives γ: c·λ.
    """
    rates = per_round("local_lrs", local_lrs, np.size(np.asarray(local_lrs)))
    grown = np.cumprod(1 + nonnegative("growth", growth) * rates)
    return float(rates[0] + rates[1:] @ grown[:-1])

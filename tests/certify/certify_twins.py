"""Many twins at once: runs that differ by poison within a budget, beside every radius for them.

The poison is whatever vector of the round's ℓ2 budget is added to the mean update: that covers every
upload of every attack.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from certify_protocols import SoftmaxRegression, descend
from torch import Tensor

from sparsefed.certify import (
    Oracle,
    convex_radii,
    error_bound_l2,
    l1_budget,
    log_memory_radii,
    log_radius,
    memory_bound,
    prior_gamma,
    prior_omega,
    softmax_oracle,
    width,
)

SHAPE = np.concatenate([np.linspace(0.2, 1, 10), np.linspace(1, 0.1, 15)])  # up and down, as in the paper
BUDGET = 0.05  # ℓ2, of mean updates that are about 1 long at first


@dataclass(frozen=True)
class Twins:
    """Full-batch softmax regression under one server; rates are such that Σ aλ is about 2."""

    regression: SoftmaxRegression
    k: int | None
    momentum: float

    @property
    def oracle(self) -> Oracle:
        return softmax_oracle(self.regression.inputs)

    @property
    def lrs(self) -> np.ndarray:
        return 2.0 * SHAPE / SHAPE.sum() / self.oracle.total

    def run(self, poison: Tensor) -> tuple[Tensor, Tensor]:
        return descend(self.regression, self.lrs, poison, self.k, self.momentum)

    def benign(self) -> tuple[Tensor, Tensor]:
        return self.run(torch.zeros(len(SHAPE), 1, self.regression.params, dtype=torch.float64))

    def random(self, models: int, seed: int = 0) -> Tensor:
        """A quarter each: any direction, signs, one coordinate, and signs kept through all rounds."""
        generator = torch.Generator().manual_seed(seed)
        shape = (len(SHAPE), models // 4, self.regression.params)
        anywhere, signs = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
        single = torch.zeros(shape, dtype=torch.float64)
        single.scatter_(2, torch.randint(shape[2], (*shape[:2], 1), generator=generator), 1.0)
        kept = torch.randn(shape[1:], generator=generator, dtype=torch.float64).sign().expand(shape)
        return within_budget(torch.cat([anywhere, signs.sign(), single, kept], dim=1))

    def searched(self, start: Tensor, models: int = 4, steps: int = 12) -> Tensor:
        """Gradient ascent on the final ℓ1 distance, through all rounds, from the best of `start`."""
        benign, _ = self.benign()
        best = (self.run(start)[0] - benign).abs().sum(1).topk(models).indices
        poison = start[:, best].clone().requires_grad_()
        for _ in range(steps):
            final, _ = self.run(poison)
            (uphill,) = torch.autograd.grad((final - benign).abs().sum(), poison)
            poison = within_budget(poison.detach() + within_budget(uphill)).requires_grad_()
        return poison.detach()

    def radii(self, measured_gamma: float) -> dict[str, float]:
        """Logarithms of every ℓ1 radius for this server, by name; γ as measured must be of both runs."""
        oracle, params, k = self.oracle, self.regression.params, self.k
        moving = width(params, k)
        numbers = {"lipschitz": oracle.over(moving), "params": 1, "budget": l1_budget(BUDGET, moving)}
        if k is None:
            return {"recursion": log_radius(self.lrs, momentum=self.momentum, **numbers)}
        omega, mass = prior_omega(params, k), oracle.mass + float(l1_budget(BUDGET, params))
        gamma = prior_gamma(omega, mass, self.momentum)
        assert measured_gamma <= gamma
        radii = {
            "recursion, γ a priori": log_radius(self.lrs, gamma=gamma, **numbers),
            "recursion, γ measured on both runs": log_radius(self.lrs, gamma=measured_gamma, **numbers),
        }
        if self.momentum == 0:
            dense = {"growth": oracle.total, "budget": l1_budget(BUDGET, params)}
            kept = memory_bound(omega, mass)
            radii["memory counted once"] = float(log_memory_radii(self.lrs, memory=kept, **dense)[-1])
        return radii

    def convex_radius(self, longest: float) -> float:
        """The ℓ2 radius, for mean updates of ℓ2 norm at most `longest`; needs a server without momentum."""
        kept = 0.0 if self.k is None else error_bound_l2(self.regression.params, self.k, longest)
        smoothness = self.oracle.smoothness
        return float(convex_radii(self.lrs, smoothness=smoothness, budget=BUDGET, memory=kept)[-1])

    def checked(self, poison: Tensor) -> dict[str, float]:
        """How much of each radius the worst of `poison` reaches; fails where one is exceeded."""
        (benign, benign_gamma), (final, gamma) = self.benign(), self.run(poison)
        apart = float((final - benign).abs().sum(1).max())
        radii = self.radii(float(torch.maximum(gamma.max(), benign_gamma.max())))
        reached = {name: apart / math.exp(log) for name, log in radii.items()}
        if self.momentum == 0:
            apart_l2 = float((final - benign).norm(dim=1).max())
            reached["convex loss, ℓ2"] = apart_l2 / self.convex_radius(self.oracle.length + BUDGET)
        assert all(share <= 1 + 1e-9 for share in reached.values()), reached
        return reached


def within_budget(poison: Tensor) -> Tensor:
    return BUDGET * torch.nn.functional.normalize(poison, dim=-1)

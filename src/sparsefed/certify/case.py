"""One threat against one run: every radius that the theory offers for it.

The runs with and without poison coincide up to the first attacked round, so nothing counts before it.
Where an honest client could be clipped, in either run, the larger a of clipped updates takes over in all
rounds: a client whose update is `longest` in the unattacked run is at most `longest + stretch · R` long
in a poisoned one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sparsefed.certify.along import Step
from sparsefed.certify.budget import Counting, Threat, WorstCase, l1_budget, l2_budget
from sparsefed.certify.memory import convex_radii, error_bound_l2, held, log_memory_radii
from sparsefed.certify.radius import Printed, log_radius, log_weights, theorem2, width
from sparsefed.certify.sparsity import memory_bound, prior_gamma, prior_omega
from sparsefed.core.errors import SpecError

__all__ = ["Case", "Radius"]


@dataclass(frozen=True)
class Radius:
    """A bound on the distance of two runs."""

    log: float
    """Natural logarithm of R."""
    clipped: bool
    """Whether it allows for honest updates that the server shortens."""
    propagation: float
    """Σ log(1 + aλ): logarithm of how much of R is propagation; 0 where nothing propagates."""
    residue: float = 0.0
    """The largest 2γ, or 2‖W‖ where the memory counts once."""
    poison: float = 0.0
    """The largest ρ of a round."""


@dataclass(frozen=True)
class Case:
    """The unattacked run of a protocol, and who could attack it."""

    params: int
    k: int | None
    """None for the plain mean."""
    momentum: float
    steps: tuple[Step, ...]
    threat: Threat
    counting: Counting
    attacked: np.ndarray
    """Which rounds can be attacked, bool `[rounds]`."""

    def upto(self, rounds: int) -> "Case":
        """The same case, stopped earlier."""
        return replace(self, steps=self.steps[:rounds], attacked=self.attacked[:rounds])

    @property
    def lrs(self) -> np.ndarray:
        """λ_t."""
        return np.array([step.lr for step in self.steps])

    @property
    def clip_norms(self) -> np.ndarray:
        """L_t."""
        return np.array([step.clip_norm for step in self.steps])

    @property
    def stiffness(self) -> np.ndarray:
        """η_t of the anchor; 0 without one. It only shrinks: recursions without it hold all the same."""
        return np.array([step.stiffness for step in self.steps])

    @property
    def counts_memory_once(self) -> bool:
        """Whether `memory` applies: its sum by parts knows of no momentum and no anchor."""
        return self.momentum == 0 and not self.stiffness.any()

    @property
    def after_first(self) -> np.ndarray:
        """The rounds from the first attacked one on, bool: before it the runs are one."""
        return np.logical_or.accumulate(self.attacked)

    def counts(self, weights: np.ndarray) -> np.ndarray:
        """m_t, for rounds that count for `weights` (logarithms)."""
        open_rounds = np.where(self.attacked, weights, -math.inf)
        return self.counting.counts(self.threat, open_rounds) * self.attacked

    def masses(self) -> np.ndarray:
        """A bound on the ℓ1 norm of the update of every round, poisoned or not."""
        worst = WorstCase().counts(self.threat, self.lrs)
        poison = l1_budget(l2_budget(worst, self.threat.cohort, self.clip_norms), self.params)
        honest = np.array([step.oracle.mass for step in self.steps])
        return np.minimum(honest + poison, math.sqrt(self.params) * self.clip_norms)

    def dense(self) -> Radius:
        """The recursion of the plain mean under the same schedule and clip."""
        return self._recursion(self.params, momentum=self.momentum)

    def sparse(self, k: int | None = None) -> Radius:
        """The recursion of SparseFed with γ a priori."""
        k = k or self.k or self.params
        gamma = prior_gamma(prior_omega(self.params, k), self.masses().max(), self.momentum)
        return self._recursion(width(self.params, k), gamma=gamma * self.after_first)

    def sparse_as_measured(self) -> Radius:
        """The recursion with the γ_t of the unattacked run, as if the poisoned one had no more."""
        gamma = np.array([step.sparsity.gamma for step in self.steps])
        return self._recursion(width(self.params, self.k), gamma=gamma * self.after_first)

    def memory(self, k: int | None = None) -> Radius:
        """The dense recursion with SparseFed's memory counted once, where that applies."""
        k = k or self.k or self.params
        kept = memory_bound(prior_omega(self.params, k), self.masses().max())

        def radius(clipped: bool) -> Radius:
            growth = self._growth(self.params, clipped)
            poison = l1_budget(self._poison(log_weights(self.lrs, growth=growth)), self.params)
            logs = log_memory_radii(self.lrs, growth=growth, budget=poison, memory=kept)
            return Radius(float(logs[-1]), clipped, _propagation(self.lrs, growth), 2 * kept, poison.max())

        return self._where_unclipped(radius)

    def convex(self) -> Radius | str:
        """The ℓ2 radius of convex losses, or why there is none."""
        smoothness = np.array([step.oracle.smoothness for step in self.steps])
        if self.momentum > 0 or not np.isfinite(smoothness).all():
            return "needs softmax regression with its own constant, and a server without momentum"
        poison, kept = self._poison(_log_surviving(self.lrs, self.stiffness)), self._kept_l2()
        numbers = {"budget": poison, "memory": kept, "stiffness": self.stiffness}
        try:
            radius = float(convex_radii(self.lrs, smoothness=smoothness, **numbers)[-1])
        except SpecError as steep:
            return str(steep).removeprefix("convex_radii ")
        if not self._unclipped(radius, [step.oracle.stretch_l2 for step in self.steps]):
            return "an honest client could be clipped: needs a larger clip norm"
        return Radius(math.log(radius) if radius else -math.inf, False, 0.0, 2 * kept, poison.max())

    def anchored(self) -> Radius:
        """The ℓ2 radius of any loss, clipped or not: both runs stay near θ₀, whatever the rounds."""
        after = np.where(self.after_first, self.clip_norms, 0.0)  # before it the runs are one
        reach = held(
            self.lrs, stiffness=self.stiffness, push=after / (1 - self.momentum), memory=self._kept_l2()
        )
        return Radius(math.log(2 * reach[-1]) if reach[-1] else -math.inf, True, 0.0)

    def _kept_l2(self) -> float:
        """A bound on ‖W‖₂; 0 for the plain mean."""
        if self.k is None:
            return 0.0
        return error_bound_l2(self.params, self.k, float(self.clip_norms.max()) / (1 - self.momentum))

    def printed(self) -> Printed:
        """Theorem 1 or 2 as printed, with the largest c, ρ and γ of all rounds."""
        growth = self._growth(width(self.params, self.k), clipped=False)
        poison = l1_budget(self._poison(log_weights(self.lrs, growth=growth)), width(self.params, self.k))
        omega = 0.0 if self.k is None else prior_omega(self.params, self.k)
        return theorem2(
            self.lrs,
            lipschitz=max(step.oracle.coordinate for step in self.steps),
            params=self.params,
            k=self.k,
            budget=float(poison.max()),
            gamma=prior_gamma(omega, self.masses().max(), self.momentum),
        )

    def sizes_alone(self) -> Radius:
        """What holds without any theory: neither run can go farther than its updates, which are bounded."""
        latest = (
            np.maximum.accumulate(self.lrs[::-1])[::-1] if self.k else self.lrs
        )  # W may wait for a high λ
        reach = 2 * self.masses() * latest * self.after_first
        total = float(reach.sum()) / (1 - self.momentum)
        return Radius(math.log(total) if total else -math.inf, True, 0.0)

    def _growth(self, moving: int, clipped: bool) -> np.ndarray:
        oracles = [step.oracle for step in self.steps]
        return np.array([o.clipped(moving) if clipped else o.over(moving) for o in oracles])

    def _poison(self, weights: np.ndarray) -> np.ndarray:
        return l2_budget(self.counts(weights), self.threat.cohort, self.clip_norms)

    def _recursion(self, moving: int, momentum: float = 0.0, gamma: np.ndarray | float = 0.0) -> Radius:
        def radius(clipped: bool) -> Radius:
            growth = self._growth(moving, clipped)
            weights = log_weights(self.lrs, growth=growth, momentum=momentum)
            poison = l1_budget(self._poison(weights), moving)
            numbers = {"lipschitz": growth, "params": 1, "budget": poison, "gamma": gamma}  # a itself, not c
            log = log_radius(self.lrs, momentum=momentum, **numbers)
            return Radius(log, clipped, _propagation(self.lrs, growth), 2 * np.max(gamma), poison.max())

        return self._where_unclipped(radius)

    def _where_unclipped(self, radius: Callable[[bool], Radius]) -> Radius:
        """The radius of unclipped honest updates if it shows by itself that none is clipped."""
        found = radius(False)
        within = math.exp(found.log) if found.log < 700 else math.inf
        return found if self._unclipped(within, [s.oracle.stretch for s in self.steps]) else radius(True)

    def _unclipped(self, radius: float, stretches: list[float]) -> bool:
        return all(
            min(step.longest + stretch * radius, step.oracle.length) <= step.clip_norm
            for step, stretch in zip(self.steps, stretches, strict=True)
        )


def _log_surviving(lrs: np.ndarray, stiffness: np.ndarray) -> np.ndarray:
    """Logarithms of what one unit of poison in each round is worth in the end."""
    with np.errstate(divide="ignore"):  # an anchor with λη = 1 leaves nothing of earlier rounds
        shrink = np.log(np.maximum(1 - lrs * stiffness, 0.0))
    return np.log(lrs) + np.concatenate([np.cumsum(shrink[:0:-1])[::-1], [0.0]])


def _propagation(lrs: np.ndarray, growth: np.ndarray) -> float:
    return float(np.log1p(lrs * growth).sum())

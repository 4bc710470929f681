"""ρ from the threat model: how much of a round's mean update compromised clients can replace.

The mean of n updates, m of them compromised and each clipped to ℓ2 norm L, differs from the mean that
the same clients would have sent honestly by at most s (m/n) L in ℓ2, with s = 2 where the compromised
clients replace honest updates of their own and s = 1 where they come in addition. Definition 1 wants
ℓ1, and only on the w = min(d, 2k) coordinates that move: a factor √w (Cauchy–Schwarz), not √d.
"""

import math
from abc import abstractmethod
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field
from scipy.stats import hypergeom

from sparsefed.certify.checks import nonnegative, per_round, whole
from sparsefed.core.errors import SpecError
from sparsefed.core.spec import Spec

__all__ = [
    "ADDED",
    "REPLACED",
    "Counting",
    "Known",
    "OncePerEpoch",
    "SampledPool",
    "Threat",
    "WorstCase",
    "l1_budget",
    "l2_budget",
]

ADDED, REPLACED = 1.0, 2.0
"""How far, in multiples of L, a compromised client can move its own share of the sum."""


class Threat(NamedTuple):
    """Who could be compromised."""

    population: int
    """N, all clients."""
    cohort: int
    """n, clients in a round."""
    compromised: int
    """M, clients of the population that the attacker holds; who they are is not known."""

    def checked(self) -> "Threat":
        """The same; SpecError unless 1 ≤ n ≤ N and 0 ≤ M ≤ N."""
        population = whole("population", self.population)
        whole("cohort", self.cohort, most=population)
        whole("compromised", self.compromised, least=0, most=population)
        return self


class Counting(Spec, family=True):
    """How many compromised clients a round may have, m_t."""

    @abstractmethod
    def counts(self, threat: Threat, weights: np.ndarray) -> np.ndarray:
        """m_t of every round, `[rounds]`.

        `weights` `[rounds]` are logarithms of how much one compromised client in round t adds to the
        radius; only `OncePerEpoch` looks at them. Raises SpecError for an impossible threat.
        """


class WorstCase(Counting):
    """The attacker chooses who is sampled: m_t = min(n, M), always."""

    def counts(self, threat: Threat, weights: np.ndarray) -> np.ndarray:
        threat = threat.checked()
        return np.full(len(weights), min(threat.cohort, threat.compromised))


class Known(Counting):
    """m_t is known beforehand, as where the attacker gets a fixed number of clients into each cohort."""

    rounds: tuple[int, ...] = Field(min_length=1)
    """m_t of every round."""

    def counts(self, threat: Threat, weights: np.ndarray) -> np.ndarray:
        if len(weights) > len(self.rounds):
            raise SpecError(
                f"Known: expected a count for each of {len(weights)} rounds, found {len(self.rounds)}"
            )
        return np.array(self.rounds[: len(weights)])


class SampledPool(Counting):
    """Cohorts are drawn without replacement from a pool whose compromised clients are unknown.

    m_t is hypergeometric; every round gets the quantile of level 1 − (1 − confidence)/T, so that *all*
    T rounds stay at or below it with probability at least `confidence` (union bound; the rounds need
    not be independent).
    """

    confidence: float = Field(default=0.999, gt=0, lt=1)
    """Least probability that no round has more compromised clients than certified."""

    def counts(self, threat: Threat, weights: np.ndarray) -> np.ndarray:
        population, cohort, compromised = threat.checked()
        support = np.arange(min(cohort, compromised) + 1)
        above = hypergeom.sf(support, population, compromised, cohort)  # P(m > support)
        enough = (above <= (1 - self.confidence) / len(weights)) | (support == support[-1])
        return np.full(len(weights), int(np.argmax(enough)))


class OncePerEpoch(Counting):
    """Every client is drawn at most once per epoch of ⌊N/n⌋ rounds, as this project samples.

    Then Σ m_t ≤ M in each epoch, whatever the draw: no probability is involved. The worst arrangement
    has the attacker's clients in the rounds that count most, and that is what is returned.
    """

    def counts(self, threat: Threat, weights: np.ndarray) -> np.ndarray:
        population, cohort, compromised = threat.checked()
        length, counts = population // cohort, np.zeros(len(weights), dtype=np.int64)
        for start in range(0, len(weights), length):
            left = compromised
            for t in start + np.argsort(-weights[start : start + length], kind="stable"):
                counts[t] = min(cohort, left)
                left -= counts[t]
        return counts


def l2_budget(counts: Any, cohort: int, clip_norm: Any, swing: float = REPLACED) -> np.ndarray:
    """S (m_t/n) L_t for every round, `[rounds]`; `clip_norm` is one number or one per round.

    Raises SpecError unless 0 ≤ m_t ≤ n and the clip is finite.
    """
    counts = np.atleast_1d(np.asarray(counts, dtype=np.float64))
    cohort = whole("cohort", cohort)
    if not ((counts >= 0) & (counts <= cohort)).all():
        raise SpecError(
            f"counts: expected numbers between 0 and the cohort of {cohort}, found {counts.max():g}"
        )
    return nonnegative("swing", swing) * counts / cohort * per_round("clip_norm", clip_norm, len(counts))


def l1_budget(l2: Any, moving: int) -> np.ndarray:
    """√w times an ℓ2 budget: its ℓ1 mass on any w = min(d, 2k) coordinates (`radius.width`)."""
    return math.sqrt(whole("moving", moving)) * np.asarray(l2, dtype=np.float64)

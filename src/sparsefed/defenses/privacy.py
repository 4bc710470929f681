"""What (ε, δ) differential privacy a run's noise gives, and the plain words where it gives none.

The model's rounds are Gaussian mechanisms. Of E of them with noise multiplier z the composition is one
Gaussian mechanism with z/√E, whose ε is known in closed form (Balle and Wang, 2018, Theorem 8), so no
accountant is needed; a test compares with one. Sampling amplifies nothing here: every epoch is a
partition of the population, so each client is certain to be in it once.

For `GaussianNoise` with a fixed clip that ε is exact. It is an upper bound where L or λ change over the
rounds (the largest counts for all) and for `LiteralNoise` with momentum, see there.
"""

import math
import warnings
from functools import lru_cache
from typing import NamedTuple

import torch

from sparsefed.core.errors import SpecError

__all__ = [
    "Exposure",
    "Guarantee",
    "gaussian_delta",
    "gaussian_epsilon",
    "gaussian_guarantee",
    "sampled_epsilon",
]

LEAST = 1e-8
"""Of less noise ε is above 10¹⁵, where its formula has no digits left: infinite will do."""

LEAST_SAMPLED = 0.5
"""Below, the accountant of sampled noise is not asked."""

VACUOUS = 20.0
"""An ε above this lets one client's data change the odds of an outcome by e²⁰ ≈ 5·10⁸: no privacy."""


class Exposure(NamedTuple):
    """What a run does with one client's data: what a rule needs to know to state its privacy."""

    clip_norm: float
    """The largest L of the run; infinite if updates are not clipped."""
    clip_learns: bool
    """Whether the clip follows the clients' own norms."""
    cohort: int
    """n."""
    lr: float
    """The largest learning rate that the server multiplies an aggregate with."""
    times: int
    """In how many rounds one client takes part at most."""
    rounds: int
    """How many rounds the run has."""
    clients: int
    """How many clients there are to draw a cohort from."""


class Guarantee(NamedTuple):
    """An (ε, δ) for the data of one client, its updates being replaced by zeros throughout the run."""

    epsilon: float
    """ε; infinite where there is no guarantee."""
    delta: float
    """δ."""
    why: str
    """In one line, what it rests on or why there is none."""


def gaussian_guarantee(multiplier: float, exposure: Exposure, delta: float) -> Guarantee:
    """What the finished model, and every model sent out before, reveals of a single client's data.

    `multiplier` is the noise over what one participation can change, 0 for none. The guarantee covers the
    models, not the record of the run, and holds where the seed stays with the server. A rejected update
    counts as zeros.
    """
    if exposure.clip_learns:
        return Guarantee(math.inf, delta, "no guarantee: the clip follows norms that nothing protects")
    if math.isinf(exposure.clip_norm):
        return Guarantee(math.inf, delta, "no guarantee: updates are not clipped")
    if multiplier == 0:
        return Guarantee(math.inf, delta, "no guarantee: the defense adds no noise")
    epsilon = gaussian_epsilon(multiplier / math.sqrt(exposure.times), delta)
    verdict = "no guarantee worth the name: " if epsilon > VACUOUS else ""
    how = f"Gaussian noise {multiplier:.3g} times what a client can change, {exposure.times} times"
    beside = _beside(multiplier, exposure, delta)
    return Guarantee(epsilon, delta, f"{verdict}{how}, no amplification by sampling{beside}")


def _beside(multiplier: float, exposure: Exposure, delta: float) -> str:
    """The ε that others quote, and why it is not this run's."""
    sampled = sampled_epsilon(multiplier, exposure.cohort / exposure.clients, exposure.rounds, delta)
    if sampled is None:
        return ""
    why = "a partition leaves no doubt that a client takes part in an epoch, and that doubt is what amplifies"
    return f"; ε = {sampled:.3g} if every round drew each client independently (Poisson sampling): {why}"


@lru_cache(maxsize=8)
def sampled_epsilon(multiplier: float, share: float, rounds: int, delta: float) -> float | None:
    """ε where every round draws each client with probability `share`, independently of all else.

    The figure that most papers quote: there the noise also hides who took part. It is here to compare with
    and is not this project's guarantee. An upper bound within 0.01 by Opacus's accountant (Gopi et al.,
    2021). None where Opacus is not installed (`pip install sparsefed[privacy]`), and for a multiplier below
    0.5, for which the accountant needs more memory than there is.
    """
    if not 0 < share <= 1 or rounds < 1:
        raise SpecError(f"privacy: expected 0 < share ≤ 1 and rounds ≥ 1, found share = {share} and {rounds}")
    try:
        from opacus.accountants import PRVAccountant
    except ImportError:
        return None
    if multiplier < LEAST_SAMPLED:
        return None
    accountant = PRVAccountant()
    accountant.history = [(multiplier, share, rounds)]
    with warnings.catch_warnings(action="ignore"):  # of its search for a range, which then is found
        return float(accountant.get_epsilon(delta))


def gaussian_delta(multiplier: float, epsilon: float) -> float:
    """The least δ for that ε of a Gaussian mechanism of deviation `multiplier` and sensitivity 1."""
    half = 1 / (2 * multiplier)
    points = torch.tensor([half - epsilon * multiplier, -half - epsilon * multiplier], dtype=torch.float64)
    above, below = torch.special.log_ndtr(points).tolist()
    return math.exp(above) - math.exp(epsilon + below)  # Φ(1/2z − εz) − e^ε Φ(−1/2z − εz)


def gaussian_epsilon(multiplier: float, delta: float) -> float:
    """The least ε for that δ of a Gaussian mechanism of deviation `multiplier` and sensitivity 1."""
    if not 0 < delta < 1 or multiplier < 0:
        raise SpecError(
            f"privacy: expected 0 < δ < 1 and a multiplier ≥ 0, found δ = {delta} and {multiplier}"
        )
    if multiplier < LEAST:
        return math.inf
    if gaussian_delta(multiplier, 0.0) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while gaussian_delta(multiplier, high) > delta:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if gaussian_delta(multiplier, middle) > delta else (low, middle)
    return high

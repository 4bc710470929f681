"""Certificates from noise: on the finished model (smoothing), and in the training itself (privacy).

Both predict by the majority over many noisy models, and hold with a probability: the shares of the votes are
estimated. The theorems and their proofs are in docs/votes.md.
"""

import math
from collections.abc import Generator
from pathlib import Path

import numpy as np
import torch
from pydantic import Field, PositiveFloat
from scipy.stats import norm
from torch import Tensor

from sparsefed.certify.certificate import surviving
from sparsefed.certify.study import Study
from sparsefed.certify.votes.certifiers import Certified, Certifier, check_classes
from sparsefed.certify.votes.groups import shares_between, tally
from sparsefed.certify.votes.trainers import votes_of
from sparsefed.core.errors import SpecError
from sparsefed.core.seeds import Stream, torch_generator
from sparsefed.defenses import GaussianNoise
from sparsefed.federation.round import Federation, run_round
from sparsefed.models import Linear
from sparsefed.protocol.aggregation import Plain
from sparsefed.runs.results import exposure

__all__ = ["Private", "Radius", "Smoothed"]

STEPS = 80
"""How many numbers of compromised clients are tried for a radius."""

PROVEN = {"certified", "vacuous"}
"""The verdicts of bounds that hold."""


class Radius(Certifier):
    """A single model and the best proven bound on how far m compromised clients can move it."""

    @property
    def models(self) -> int:
        return 1

    def run(self, fed: Federation, folder: Path | None = None) -> Generator[int, None, Certified]:
        study = Study.of(fed.spec.but(attack=None))
        yield 1
        points, labels = study.points, fed.dataset.test.y.cpu().numpy()
        if points is None:
            raise SpecError(f"Radius: expected Linear or Head as the model, found {fed.spec.model!r}")
        survived = np.zeros(len(labels), np.int64)
        for count in _grid(fed):
            proven = [
                surviving(points.gaps, points.reach[bound.norm], bound.log_radius)
                for bound in study.against(int(count)).bounds
                if bound.verdict in PROVEN and bound.log_radius is not None
            ]
            survived[torch.stack(proven).any(0).cpu().numpy()] = count
        predictions = votes_of(fed, study.case.steps[-1].params.to(fed.initial.dtype))
        return Certified(predictions, survived, 1, "the clip, and a loss whose gradient is known")


class Smoothed(Certifier):
    """The majority over copies of the finished model with Gaussian noise (as CRFL, Xie et al., 2021).

    m compromised clients move the model by at most R(m) in ℓ2, so they change no prediction whose majority
    outweighs a move of that length. R is the best proven radius of the experiment; for models without one,
    what the sizes of the updates allow, whoever sends them.
    """

    deviation: PositiveFloat
    """σ, the standard deviation of the noise on each parameter."""
    samples: int = Field(default=1000, gt=1)
    """How many noisy copies vote."""
    confidence: float = Field(default=0.999, gt=0, lt=1)
    """The probability that all certificates are right."""

    @property
    def models(self) -> int:
        return 1

    def run(self, fed: Federation, folder: Path | None = None) -> Generator[int, None, Certified]:
        check_classes(fed)
        params, grid, radii = (_with_radius if isinstance(fed.spec.model, Linear) else _with_sizes)(fed)
        yield 1
        votes = np.stack([self._vote(fed, params, sample) for sample in range(self.samples)])
        classes = fed.dataset.classes
        low, high = shares_between(votes, classes, self.confidence)
        bears = self.deviation / 2 * (norm.ppf(low) - norm.ppf(high))  # how far the model may move
        survived = np.where(bears > 0, grid[np.searchsorted(radii, bears) - 1], -1)
        why = f"the radius R(m), in ℓ2; holds with probability {self.confidence:g}"
        return Certified(tally(votes, classes).argmax(1), survived, 1, why, votes_of(fed, params))

    def _vote(self, fed: Federation, params: Tensor, sample: int) -> np.ndarray:
        draw = torch_generator(fed.spec.seed, Stream.GROUPS, 3, sample)
        noise = torch.randn(params.shape, generator=draw, dtype=params.dtype).to(params.device)
        return votes_of(fed, params + self.deviation * noise)


class Private(Certifier):
    """The majority over trainings whose server adds Gaussian noise: what is private is stable.

    The experiment's defense must be `GaussianNoise`, its clip fixed and its aggregation `Plain`. One client
    changes a training like a shift of one normal distribution by μ, m clients by mμ (Gaussian privacy, Dong,
    Roth and Su, 2022).
    """

    trainings: int = Field(default=100, gt=1)
    """How many noisy models vote."""
    confidence: float = Field(default=0.999, gt=0, lt=1)
    """The probability that all certificates are right."""

    @property
    def models(self) -> int:
        return self.trainings

    def run(self, fed: Federation, folder: Path | None = None) -> Generator[int, None, Certified]:
        check_classes(fed)
        mu = shift(fed)
        votes = []
        for training in range(self.trainings):
            votes.append(votes_of(fed, _trained_with_noise(fed, training)))
            yield training + 1
        low, high = shares_between(np.stack(votes), fed.dataset.classes, self.confidence)
        bears = (norm.ppf(low) - norm.ppf(high)) / (2 * mu)  # p_y > p_c while 2mμ is below the gap
        survived = np.where(bears > 0, np.ceil(bears) - 1, -1).astype(np.int64)
        why = f"noise of μ = {mu:.3g} a client; holds with probability {self.confidence:g}"
        winners = tally(np.stack(votes), fed.dataset.classes).argmax(1)
        return Certified(winners, survived, self.trainings, why)


def shift(fed: Federation) -> float:
    """μ: replacing a client's updates is no easier to see than moving N(0, 1) by μ.

    Raises SpecError where the experiment's noise guarantees nothing.
    """
    defense, seen = fed.spec.defense, exposure(fed)
    if not isinstance(defense, GaussianNoise):
        raise SpecError(f"Private: expected the defense GaussianNoise, found {defense!r}")
    if not isinstance(fed.spec.aggregation, Plain):  # it skips rounds of few updates, and their noise
        raise SpecError(f"Private: expected the aggregation Plain, found {fed.spec.aggregation!r}")
    guarantee = defense.privacy(seen)
    if math.isinf(guarantee.epsilon):
        raise SpecError(f"Private: expected noise that guarantees something, found {guarantee.why}")
    removed = math.sqrt(seen.times) / defense.multiplier(seen.clip_norm, seen.cohort, seen.lr)
    return 2 * removed  # an update that is replaced moves by up to 2L


def _trained_with_noise(fed: Federation, training: int) -> Tensor:
    """θ of one training: the same clients and cohorts, and noise of its own."""
    start = fed.initial_state
    noise = torch_generator(fed.spec.seed, Stream.GROUPS, 4, training).initial_seed()
    state = start._replace(memory=fed.spec.defense.init(start.params, noise))
    for _ in range(fed.spec.rounds):
        state, _ = run_round(fed, state, poisoned=False)
    return state.params


def _with_radius(fed: Federation) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """θ of the unattacked run, numbers of compromised clients from 0 on, and a proven ℓ2 radius for each."""
    study = Study.of(fed.spec.but(attack=None))
    grid = _grid(fed)
    radii = [_best(study, int(count)) for count in grid]
    params = study.case.steps[-1].params
    return params, np.concatenate([[0], grid]), np.concatenate([[-1.0], np.maximum.accumulate(radii)])


def _grid(fed: Federation) -> np.ndarray:
    """Numbers of compromised clients: every one up to 20, then a few, up to all."""
    clients = len(fed.population)
    steps = np.geomspace(1, clients, STEPS).round().astype(np.int64)
    return np.union1d(np.arange(1, min(clients, 20) + 1), steps)


def _best(study: Study, compromised: int) -> float:
    """The smallest proven ℓ2 radius; a radius in ℓ1 is one."""
    logs = [
        bound.log_radius
        for bound in study.against(compromised).bounds
        if bound.verdict in PROVEN and bound.log_radius is not None
    ]
    return math.exp(min(*logs, 700.0))


def _with_sizes(fed: Federation) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """The same for any model: two runs with clipped updates are never further apart than 2 Σ λL."""
    spec, state = fed.spec, fed.initial_state
    longest = 2 * sum(
        spec.clients.server_lr(lr) * spec.clip.norm_at(lr, spec.clip.init())
        for lr in (spec.schedule.lr(t, spec.rounds) for t in range(1, spec.rounds + 1))
    )
    momentum = getattr(spec.defense, "momentum", 0.0)
    for _ in range(spec.rounds):
        state, _ = run_round(fed, state, poisoned=False)
    clients = np.array([0, len(fed.population)])
    return state.params, clients, np.array([-1.0, longest / (1 - momentum)])

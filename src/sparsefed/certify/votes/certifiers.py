"""The ways to certify predictions, as a family: each says how many compromised clients they survive."""

from abc import abstractmethod
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sparsefed.certify.votes.ballots import cast
from sparsefed.certify.votes.groups import Grouping, Hashed, tally
from sparsefed.certify.votes.trainers import Rounds, Trainer
from sparsefed.core.errors import SpecError
from sparsefed.core.spec import Spec
from sparsefed.federation.round import Federation

__all__ = ["Certified", "Certifier", "Combined", "Votes"]


class Certified(NamedTuple):
    """Predictions for the test points, and what each survives."""

    predictions: np.ndarray
    """Classes, `[points]`."""
    survived: np.ndarray
    """Compromised clients, any and sending anything, that leave the prediction as it is; −1 for none at all
    in a certificate that holds with a probability. int64 `[points]`."""
    models: int
    """How many models were trained."""
    rests_on: str
    """In a few words, what the certificate needs."""
    alone: np.ndarray | None = None
    """What a single model of all clients predicts, trained in the same way; `[points]`."""

    def percent(self, labels: np.ndarray, compromised: int = 0) -> float:
        """Percent of the points that are right, and stay right with so many compromised clients."""
        right = self.predictions == labels
        return 100 * float((right & (self.survived >= compromised)).mean())

    def accuracy(self, labels: np.ndarray) -> float:
        """Percent of the points that are right without attack."""
        return 100 * float((self.predictions == labels).mean())


class Certifier(Spec, family=True):
    """A way to certify predictions."""

    @abstractmethod
    def run(self, fed: Federation, folder: Path | None = None) -> Generator[int, None, Certified]:
        """Train what is needed, and return `Certified`; yields how many models are done.

        What is kept in `folder` is not done again. Raises SpecError where the experiment is not covered.
        """

    @property
    @abstractmethod
    def models(self) -> int:
        """How many models are trained."""


class Votes(Certifier):
    """The majority vote among models that groups of clients train: any model, any rule, any update."""

    groups: Grouping
    """Which clients train which model."""
    trainer: Trainer = Rounds()
    """How a group trains."""

    @property
    def models(self) -> int:
        return self.groups.groups

    def run(self, fed: Federation, folder: Path | None = None) -> Generator[int, None, Certified]:
        clients, seed, classes = len(fed.population), fed.spec.seed, fed.dataset.classes
        check_classes(fed)
        opinions = yield from cast(fed, self.trainer, self.groups.members(clients, seed), folder)
        alone = yield from _alone(fed, self.trainer, self.models, folder)
        survived = self.groups.survived(opinions.votes, classes, clients, seed)
        winners = tally(opinions.votes, classes).argmax(1)
        return Certified(winners, survived, self.models, self.groups.rests_on, alone)


class Combined(Certifier):
    """Votes in which a group counts as lost only if enough of its own clients are compromised.

    For trainers whose models have a certified radius of their own: a group of which j clients are compromised
    keeps its vote on every point whose gap j clients cannot close.
    """

    groups: Hashed
    """Which clients train which model; each client in one group."""
    trainer: Trainer
    """How a group trains."""

    @property
    def models(self) -> int:
        return self.groups.groups

    def run(self, fed: Federation, folder: Path | None = None) -> Generator[int, None, Certified]:
        check_classes(fed)
        clients, seed, classes = len(fed.population), fed.spec.seed, fed.dataset.classes
        opinions = yield from cast(fed, self.trainer, self.groups.members(clients, seed), folder)
        if opinions.costs is None:
            raise SpecError(f"{self.trainer!r}: expected a trainer with a radius of its own")
        alone = yield from _alone(fed, self.trainer, self.models, folder)
        survived = self.groups.survived_at_costs(opinions.votes, classes, opinions.costs)
        rests_on = f"{self.groups.rests_on}, and each group's own radius"
        winners = tally(opinions.votes, classes).argmax(1)
        return Certified(winners, survived, self.models, rests_on, alone)


def check_classes(fed: Federation) -> None:
    """Raises SpecError for language models, which have no prediction per example."""
    if fed.dataset.test.y.ndim != 1:
        raise SpecError("certificate: expected one class per example, found next tokens")


def _alone(
    fed: Federation, trainer: Trainer, done: int, folder: Path | None
) -> Generator[int, None, np.ndarray]:
    """What one model of all clients predicts."""
    everyone = np.arange(len(fed.population), dtype=np.int32)
    steps = cast(fed, trainer, [everyone], folder)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value.votes[0]
        yield done

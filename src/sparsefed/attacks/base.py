"""An attack is three independent choices: objective (what), presence (who and when), method (how)."""

import math
from abc import abstractmethod
from enum import Flag, auto
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sparsefed.clients.base import LocalData
from sparsefed.data import Dataset
from sparsefed.network import Network
from sparsefed.spec import Spec
from sparsefed.types import Matrix, Vector
from sparsefed.updates import Updates

__all__ = ["Attack", "Auxiliary", "Grant", "Method", "Objective", "Presence", "View", "fit_to", "project"]


class Auxiliary(NamedTuple):
    """The points that the attacker wants wrong."""

    inputs: Tensor
    """`[points, ...]`, ready for the network."""
    labels: Tensor
    """The labels that the attacker wants."""
    test_positions: np.ndarray
    """Where these points stand in the test set; empty if they are not test points."""


class Grant(Flag):
    """Knowledge beyond the base threat model that a method may be granted."""

    NOTHING = 0
    HONEST_UPDATES = auto()
    SERVER_MEMORY = auto()


class View(NamedTuple):
    """Exactly what the threat model grants the attacker in one round."""

    network: Network
    params: Vector
    """θ, broadcast to everyone."""
    lr: float
    """λ(t)."""
    clip_norm: float
    """L of this round; infinite if the server does not clip."""
    round: int
    cohort: int
    """n, how many clients take part in the round."""
    local: LocalData
    """The data of the compromised clients of this round; one upload is due for each."""
    auxiliary: Auxiliary | None
    """The points to get wrong; None if the objective has none (untargeted)."""
    honest: Updates | None
    """The clipped honest updates of this round; None unless granted `HONEST_UPDATES`."""
    memory: Any | None
    """The defense and its memory before this round; None unless granted `SERVER_MEMORY`."""

    @property
    def uploads(self) -> int:
        """How many compromised clients are in the round."""
        return len(self.local.sizes)


class Objective(Spec, family=True):
    """What the attacker wants of the final model."""

    @abstractmethod
    def auxiliary(self, dataset: Dataset, seed: int) -> Auxiliary | None:
        """The points that should go wrong and their wanted labels; None if there is no such set."""


class Presence(Spec, family=True):
    """Which clients are compromised, and in which rounds they attack."""

    @abstractmethod
    def compromised(self, clients: int, seed: int) -> np.ndarray:
        """The mask of compromised clients, bool `[clients]`."""

    @abstractmethod
    def attacks_in(self, round: int) -> bool:
        """Whether the compromised clients attack in this round; otherwise they act like honest ones."""


class Method(Spec, family=True):
    """How the uploads of the compromised clients are made."""

    needs: ClassVar[Grant] = Grant.NOTHING
    """What the method reads beyond the base threat model."""

    @abstractmethod
    def craft(self, view: View, generator: torch.Generator) -> Matrix:
        """The uploads of this round, one row each; colluders return one row, expanded."""


class Attack(Spec):
    """Who attacks what, how, and when."""

    objective: Objective
    """What the attacker wants."""
    presence: Presence
    """Who is compromised and when they attack."""
    method: Method
    """How the uploads are made."""


def fit_to(update: Vector, norm: float) -> Vector:
    """`update` brought to length `norm` exactly; a zero update and an infinite norm change nothing."""
    length = torch.linalg.vector_norm(update)
    return update * (norm / length) if math.isfinite(norm) and length > 0 else update


def project(update: Vector, norm: float) -> Vector:
    """The nearest point to `update` in the ℓ2 ball of radius `norm`."""
    length = torch.linalg.vector_norm(update)
    return update * (norm / length) if length > norm else update

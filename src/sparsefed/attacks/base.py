"""An attack is three independent choices: objective (what), presence (who and when), method (how)."""

import math
from abc import abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from sparsefed.attacks.objectives.base import Auxiliary, Objective
from sparsefed.attacks.view import Grant, Nothing, View
from sparsefed.core.spec import Spec
from sparsefed.core.types import ClientIds, Matrix, Vector
from sparsefed.kernels import norm_of, with_norm

__all__ = [
    "Attack",
    "Colluding",
    "Method",
    "Presence",
    "fit_to",
    "needs_points",
    "project",
]

_LEAST = 1e-30
"""Factors below it, and above its inverse, lose digits in float32 or do not fit."""


class Presence(Spec, family=True):
    """Which clients are compromised, and in which rounds they attack; at other times they act honest."""

    @abstractmethod
    def compromised(self, clients: int, seed: int) -> np.ndarray:
        """The mask of clients that are the attacker's throughout, bool `[clients]`."""

    @abstractmethod
    def attacking(self, pool: np.ndarray, cohort: ClientIds, round: int, seed: int) -> np.ndarray:
        """Which clients of a cohort attack in this round, bool; `pool` is the mask of the compromised."""

    @property
    def starts(self) -> int:
        """The first round that may have attackers in it."""
        return 1

    @property
    def ends(self) -> int | None:
        """The last round with attackers in it; None if they stay."""
        return None

    def share(self, pool: np.ndarray, cohort: int) -> float:
        """The share of all training examples that the attacker controls, for the impact factor."""
        return float(pool.mean())


class Method(Spec, family=True):
    """How the uploads of the compromised clients are made. Memory is passed, never kept."""

    needs: ClassVar[Grant] = Grant.NOTHING
    """What the method reads beyond the base threat model."""
    collusive_memory: ClassVar[bool] = False
    """Whether `learn` uses what colluders share, and not broadcasts alone."""

    def check(self, objective: Objective) -> None:
        """Raises `ValueError` where the objective gives this method nothing to work toward."""

    def init(self, params: Vector) -> Any:
        """The attacker's memory before the first round: a NamedTuple of tensors."""
        return Nothing()

    def begin(self, params: Vector, objective: Objective, auxiliary: Auxiliary | None) -> Any:
        """As `init`, for a method whose memory depends on the points as well."""
        return self.init(params)

    def aimed(self, auxiliary: Auxiliary, memory: Any) -> Auxiliary:
        """The points as the attackers would show them to the model now; success is measured on these."""
        return auxiliary

    def learn(self, view: View, generator: torch.Generator) -> Any:
        """The memory after seeing this round's broadcast; asked only in rounds with an attacker."""
        return view.memory

    @abstractmethod
    def craft(self, view: View, generator: torch.Generator) -> Matrix:
        """The uploads of this round, `[view.uploads, params]`; `view.memory` has learnt of this round."""


class Colluding(Method):
    """All attackers of a round send one vector, computed once and as long as the server allows."""

    norm: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """ℓ2 length of the upload, at most the server's L. If not given: L, or as it comes without a clip."""

    @abstractmethod
    def vector(self, view: View, generator: torch.Generator) -> Vector:
        """The common update, of any length."""

    def radius(self, view: View) -> float:
        """The length of the upload; infinite if neither the server nor the attacker limits it."""
        return view.clip_norm if self.norm is None else min(self.norm, view.clip_norm)

    def craft(self, view: View, generator: torch.Generator) -> Matrix:
        upload = fit_to(self.vector(view, generator), self.radius(view))
        return upload.expand(view.uploads, -1)


class Attack(Spec):
    """Who attacks what, how, and when."""

    objective: Objective
    """What the attacker wants."""
    presence: Presence
    """Who is compromised and when they attack."""
    method: Method
    """How the uploads are made."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        self.method.check(self.objective)
        return self


def needs_points(method: Method, objective: Objective) -> None:
    """Raises `ValueError` where there are no auxiliary points for `method` to train on."""
    if not objective.has_points:
        raise ValueError(
            f"{method!r}: expected an objective with points, such as Targeted, found {objective!r}"
        )


def fit_to(update: Vector, norm: float) -> Vector:
    """`update` brought to length `norm` exactly; a zero update and an infinite norm change nothing."""
    length = norm_of(update)
    return _scaled(update, norm, length) if math.isfinite(norm) and length > 0 else update


def project(update: Vector, norm: float) -> Vector:
    """The nearest point to `update` in the ℓ2 ball of radius `norm`."""
    length = norm_of(update)
    return _scaled(update, norm, length) if length > norm else update


def _scaled(update: Vector, norm: float, length: Tensor) -> Vector:
    factor = norm / length
    return update * factor if _LEAST < factor < 1 / _LEAST else with_norm(update, norm)

"""PoisonedFL: the same random signs in every round, as large as gets through (Xie et al., CVPR 2025)."""

import math
from typing import ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from sparsefed.attacks.base import Method, fit_to, project
from sparsefed.attacks.view import View
from sparsefed.core.types import Matrix, Vector
from sparsefed.kernels import norm_of

__all__ = ["Course", "PoisonedFL"]


class Course(NamedTuple):
    """What the attackers remember."""

    signs: Vector
    """s, drawn once."""
    params: Vector
    """θ of the last round they saw."""
    upload: Vector
    """What they sent last."""
    mark: Vector
    """θ at the last test of whether the model follows."""
    factor: Tensor
    """c, the present multiple of the model's own movement."""
    rounds: Tensor
    """How many rounds they have seen, int64 `[]`."""


class PoisonedFL(Method):
    """λv ⊙ s with fixed random signs s: attacks that are consistent over rounds add up, others cancel.

    v is the size, coordinate by coordinate, of what the model's last movement has beside the attackers' own
    part, and λ = c times the movement's length. After every `test` rounds a sign test asks whether the model
    follows s; if not, c is too large to pass and shrinks. Needs no honest update and no data. Attackers who
    are sampled see the model in their own rounds only. In their first they send s alone.
    """

    collusive_memory: ClassVar[bool] = True

    factor: float = Field(default=8.0, gt=0, allow_inf_nan=False)
    """c⁰, the length of an upload as a multiple of the model's last movement."""
    shrink: float = Field(default=0.7, gt=0, lt=1)
    """β, what is left of c where the model does not follow."""
    least: float = Field(default=0.5, gt=0)
    """The smallest c."""
    test: int = Field(default=50, gt=0)
    """e, rounds seen between two tests."""

    def init(self, params: Vector) -> Course:
        empty = torch.zeros_like(params)
        factor = torch.tensor(self.factor, dtype=torch.float64)
        return Course(empty, empty, empty, empty, factor, torch.zeros((), dtype=torch.int64))

    def learn(self, view: View, generator: torch.Generator) -> Course:
        """What was seen, and what will be sent: it is part of what is remembered."""
        old = view.memory
        if int(old.rounds) == 0:
            signs = 1 - 2 * torch.randint(2, old.signs.shape, generator=generator, device=generator.device)
            signs = signs.to(view.params)
            seen = old._replace(signs=signs, params=view.params, mark=view.params, rounds=old.rounds + 1)
            return seen._replace(upload=self._first(view, signs, generator))
        change = (old.params - view.params) / view.server_lr
        seen = old._replace(params=view.params, rounds=old.rounds + 1)
        if int(old.rounds) % self.test == 0:
            moved = old.mark - view.params
            kept = 1.0 if follows(moved, old.signs) else self.shrink
            seen = seen._replace(mark=view.params, factor=(old.factor * kept).clamp(min=self.least))
        return seen._replace(upload=self._next(view, seen, change))

    def _first(self, view: View, signs: Vector, generator: torch.Generator) -> Vector:
        if math.isfinite(view.clip_norm):
            return fit_to(signs, view.clip_norm)
        honest = view.clients.updates(view.work(view.local, generator.initial_seed())).mean()
        return fit_to(signs, float(norm_of(honest)))

    def _next(self, view: View, seen: Course, change: Vector) -> Vector:
        """λv ⊙ s; `change` is how the model moved since the last round, in the direction of an update."""
        length, sent = (float(norm_of(part)) for part in (change, seen.upload))
        rest = (change - seen.upload * (length / sent if sent else 0.0)).abs()  # v, not yet of length 1
        return project(fit_to(rest, float(seen.factor) * length) * seen.signs, view.clip_norm)

    def craft(self, view: View, generator: torch.Generator) -> Matrix:
        return view.memory.upload.expand(view.uploads, -1)


def follows(moved: Vector, signs: Vector) -> bool:
    """Whether more of the coordinates that moved went with `signs` than by chance (p < 0.01, one-sided)."""
    went = int(torch.count_nonzero(moved))
    agreeing = int((moved.sign() == signs).sum())
    return agreeing > went / 2 + 2.326 * math.sqrt(went) / 2

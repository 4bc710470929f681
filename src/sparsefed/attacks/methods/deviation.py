"""What attacks that read honest updates share: the mean, moved in one direction as far as is unnoticed."""

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from pydantic import Field

from sparsefed.attacks.base import Method, project
from sparsefed.attacks.view import Grant, View, lacks
from sparsefed.core.errors import SpecError, UpdateError
from sparsefed.core.types import Matrix, Vector
from sparsefed.protocol.joined import Joined
from sparsefed.protocol.updates import Dense, Updates

__all__ = ["AgainstRule", "Deviation", "spread_of"]


class Deviation(Method):
    """All colluders send the honest mean plus a multiple of a direction, shortened to L."""

    needs: ClassVar[Grant] = Grant.HONEST_UPDATES

    @abstractmethod
    def direction(self, honest: Updates) -> Vector:
        """Where the mean is moved, of any length."""

    @abstractmethod
    def size(self, view: View, honest: Updates, direction: Vector) -> float:
        """By how much of `direction`."""

    def craft(self, view: View, generator: torch.Generator) -> Matrix:
        """Zeros in a round without honest clients: there is nobody to deviate from."""
        if view.honest is None:
            raise SpecError(f"{self!r}: expected to be granted honest updates, found none")
        if view.honest.count == 0:
            return torch.zeros_like(view.params).expand(view.uploads, -1)
        direction = self.direction(view.honest)
        size = self.size(view, view.honest, direction)
        return self.moved(view, direction, size).expand(view.uploads, -1)

    def moved(self, view: View, direction: Vector, size: float) -> Vector:
        """The upload of a given size."""
        return project(view.honest_mean + size * direction, view.clip_norm)


class AgainstRule(Deviation):
    """A deviation whose size is tried on the server's own rule, and that with the most effect is sent.

    Effect is the ℓ2 distance between the server's steps with and without the attackers in this round; a
    round that the rule refuses has none.
    """

    needs: ClassVar[Grant] = Grant.HONEST_UPDATES | Grant.SERVER_MEMORY

    tries: int = Field(default=16, gt=0)
    """How many sizes are tried: half of them above the published one, each twice the one before."""

    def size(self, view: View, honest: Updates, direction: Vector) -> float:
        published = super().size(view, honest, direction)  # type: ignore[safe-super]
        sizes = [published * 2.0 ** (i - self.tries // 2) for i in range(1, self.tries + 1)]
        alone = stepped(view, honest)
        if alone is None:
            return published
        effects = [self._effect(view, honest, self.moved(view, direction, size), alone) for size in sizes]
        return sizes[max(range(len(sizes)), key=effects.__getitem__)]

    def _effect(self, view: View, honest: Updates, upload: Vector, alone: Vector) -> float:
        poison = Dense(upload.expand(view.uploads, -1)).admitted(view.clip_norm)
        together = stepped(view, Joined(honest, poison))
        return -math.inf if together is None else float(torch.linalg.vector_norm(together - alone))


def stepped(view: View, updates: Updates) -> Vector | None:
    """The step that the server would take; None where its rule refuses."""
    if view.server is None:
        raise lacks(Grant.SERVER_MEMORY, "to try the server's rule")
    try:
        return view.server.step(updates, view.server_lr)[0]
    except UpdateError:
        return None


def spread_of(honest: Updates) -> Vector:
    """The standard deviation of every coordinate over the clients, 0 for a single one.

    Row by row: `std` over the long way of a large matrix takes twenty times as long.
    """
    rows = honest.rows()
    mean = rows.mean(dim=0, dtype=torch.float64)
    squares = torch.zeros_like(mean)
    for row in rows:
        away = row - mean
        squares.addcmul_(away, away)
    return squares.div_(honest.count).sqrt_().to(rows.dtype)

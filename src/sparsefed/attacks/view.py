"""What an attacker knows in a round: its auxiliary set, its devices' data, and what its method is granted."""

from enum import Flag, auto
from typing import Any, NamedTuple

import torch

from sparsefed.attacks.objectives.base import Auxiliary, Objective
from sparsefed.clients.base import Clients, LocalData, Work
from sparsefed.core.errors import SpecError
from sparsefed.core.types import Vector
from sparsefed.defenses.base import Defense
from sparsefed.models.network import Network
from sparsefed.protocol.anchors import Anchor
from sparsefed.protocol.aside import NOTHING, Aside
from sparsefed.protocol.updates import Updates

__all__ = ["Grant", "Nothing", "Server", "View", "lacks"]


class Grant(Flag):
    """Knowledge beyond the base threat model that a method may be granted."""

    NOTHING = 0
    HONEST_UPDATES = auto()
    SERVER_MEMORY = auto()


def lacks(grant: Grant, why: str) -> SpecError:
    """What to write in a method's class that reads more than it declares."""
    names = " | ".join(f"sf.Grant.{part.name}" for part in grant)
    return SpecError(f"`needs`: expected `needs = {names}` in the class {why}, found it missing")


class Nothing(NamedTuple):
    """The memory of an attacker that remembers nothing."""


class Server(NamedTuple):
    """The server's side of a round."""

    defense: Defense
    """Its rule."""
    memory: Any
    """The rule's memory before the round."""
    aside: Aside = NOTHING
    """What else it knows of the round; clients are the honest ones, then the attackers'."""

    def step(self, updates: Updates, lr: float) -> tuple[Vector, Any]:
        """What the rule would make of `updates`; raises `UpdateError` where it refuses them."""
        who = self.aside.clients
        who = who[: updates.count] if who is not None and len(who) >= updates.count else None
        updates.aside = self.aside._replace(clients=who)
        return self.defense.step(updates, self.memory, lr)


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
    classes: tuple[str, ...]
    """What the data call classes 0, 1, …"""
    clients: Clients
    """What an honest client would do: the attacker owns devices that run it."""
    local: LocalData
    """The data of the compromised clients of this round; one upload is due for each."""
    anchor: Anchor
    """What pulls the model back; part of the protocol, and known to everyone."""
    initial: Vector
    """θ₀, the first broadcast."""
    objective: Objective
    auxiliary: Auxiliary | None
    """The points to have misclassified; None if the objective has none (untargeted)."""
    memory: Any
    """What the attacker remembers of earlier rounds (`Method.init`, `Method.learn`)."""
    honest: Updates | None
    """The clipped honest updates of this round; None unless granted `HONEST_UPDATES`."""
    server: Server | None
    """The defense and its memory before this round; None unless granted `SERVER_MEMORY`."""

    @property
    def uploads(self) -> int:
        """How many compromised clients are in the round."""
        return len(self.local.sizes)

    @property
    def server_lr(self) -> float:
        """What the server multiplies its aggregate with."""
        return self.clients.server_lr(self.lr)

    @property
    def wanted(self) -> Auxiliary:
        """The auxiliary set, for methods that need one; raises `SpecError` where there is none."""
        if self.auxiliary is None:
            needed = "an objective with an auxiliary set, such as Targeted"
            raise SpecError(f"expected {needed}, found {self.objective!r}")
        return self.auxiliary

    @property
    def honest_mean(self) -> Vector:
        """The mean of the honest updates; 0 in a round without honest clients."""
        if self.honest is None:
            raise lacks(Grant.HONEST_UPDATES, "to read the honest updates")
        return _mean(self.honest, self.params)

    def own_mean(self, seed: int) -> Vector:
        """The mean of the attackers' devices' honest updates, clipped; 0 where none is finite."""
        updates = self.clients.updates(self.work(self.local, seed))
        return _mean(updates.admitted(self.clip_norm), self.params)

    def work(self, data: LocalData, seed: int) -> Work:
        """The orders of this round to an honest client that owns `data`."""
        return Work(self.network, self.params, data, self.lr, seed, self.round)


def _mean(updates: Updates, params: Vector) -> Vector:
    return updates.mean() if updates.count else torch.zeros_like(params)

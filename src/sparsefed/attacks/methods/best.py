"""The attack that hurts most here: several are tried on the attackers' own copy of the federation."""

import math
from typing import Any, ClassVar, NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from sparsefed.attacks.base import Method
from sparsefed.attacks.objectives.base import Objective
from sparsefed.attacks.view import Grant, Server, View
from sparsefed.core.errors import SpecError, UpdateError
from sparsefed.core.types import Matrix, Vector
from sparsefed.protocol.joined import Joined
from sparsefed.protocol.updates import Dense

__all__ = ["Best", "Trials"]


class Trials(NamedTuple):
    """What the attackers remember."""

    choice: Tensor
    """The place of the chosen method in `of`, int64 `[]`; −1 before the first attack."""
    memories: tuple[Any, ...]
    """Of each method."""


class Best(Method):
    """Chooses once, in the first round with an attacker, and keeps to it.

    The copy has the model, the server's rule and its memory, and honest clients with the data of the
    attackers' own devices, as many as the cohort has. Each method plays some rounds there; the one
    chosen has the lowest loss on the auxiliary set afterwards, or, untargeted, the highest on clean data.
    """

    of: list[Method] = Field(min_length=1)
    """The methods to choose from."""
    ahead: int = Field(default=20, gt=0)
    """How many rounds each plays."""
    collusive_memory: ClassVar[bool] = True

    @model_validator(mode="after")
    def _not_itself(self) -> Self:
        if any(isinstance(method, Best) for method in self.of):
            raise ValueError("`of`: expected methods to choose from, found another Best")
        return self

    @property
    def needs(self) -> Grant:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What the methods need, and the server's rule for the copy."""
        granted = Grant.SERVER_MEMORY
        for method in self.of:
            granted |= method.needs
        return granted

    def check(self, objective: Objective) -> None:
        for method in self.of:
            method.check(objective)

    def init(self, params: Vector) -> Trials:
        return Trials(torch.tensor(-1), tuple(method.init(params) for method in self.of))

    def learn(self, view: View, generator: torch.Generator) -> Trials:
        """Once chosen, only the chosen method goes on learning."""
        choice, memories = view.memory
        if int(choice) < 0:
            choice = torch.tensor(self.chosen(view, generator.initial_seed()))
        place = int(choice)
        learned = self.of[place].learn(self._seen(view, place, memories[place]), generator)
        return Trials(choice, (*memories[:place], learned, *memories[place + 1 :]))

    def craft(self, view: View, generator: torch.Generator) -> Matrix:
        place = int(view.memory.choice)
        return self.of[place].craft(self._seen(view, place, view.memory.memories[place]), generator)

    def chosen(self, view: View, seed: int) -> int:
        """The place of the method that does most damage on the copy; of equals the first."""
        damages = [self.damage(view, place, seed) for place in range(len(self.of))]
        return max(range(len(damages)), key=damages.__getitem__)

    def damage(self, view: View, place: int, seed: int) -> float:
        """How well it does on the copy: minus the loss on the auxiliary set, or the loss on clean data."""
        copy = _Copy(view, self.of[place], seed)
        for _ in range(self.ahead):
            copy.play()
        view.network.bind(copy.view.params)
        with view.network.evaluating():
            if view.auxiliary is None:
                loss = float(view.network.loss(view.local.inputs, view.local.labels))
                return math.inf if math.isnan(loss) else loss
            return -float(view.network.loss(*view.auxiliary[:2]))

    def _seen(self, view: View, place: int, memory: Any) -> View:
        """What one of the methods may see."""
        needs = self.of[place].needs
        return view._replace(
            memory=memory,
            honest=view.honest if Grant.HONEST_UPDATES in needs else None,
            server=view.server if Grant.SERVER_MEMORY in needs else None,
        )


class _Copy:
    """The federation as the attackers can play it: their own devices stand for the honest clients."""

    def __init__(self, view: View, method: Method, seed: int) -> None:
        if view.server is None:
            raise SpecError(f"{method!r}: expected to be granted the server's rule, found none")
        self.view, self.method, self.server = view, method, view.server
        self.memory = method.init(view.params)
        self.generator = torch.Generator().manual_seed(seed)
        self.honest_count = max(view.cohort - view.uploads, 1)

    def play(self) -> None:
        """One round; a refused one changes nothing."""
        view = self.view
        work = view.work(view.local, self.generator.initial_seed())
        own = view.clients.updates(work._replace(round=view.round)).admitted(view.clip_norm).rows()
        honest = Dense(own[torch.arange(self.honest_count) % len(own)])
        needs = self.method.needs
        seen = view._replace(
            memory=self.memory,
            honest=honest if Grant.HONEST_UPDATES in needs else None,
            server=self.server if Grant.SERVER_MEMORY in needs else None,
        )
        self.memory = self.method.learn(seen, self.generator)
        poison = self.method.craft(seen._replace(memory=self.memory), self.generator)
        updates = Joined(honest, Dense(poison.detach().to(own)).admitted(view.clip_norm))
        try:
            delta, memory = self.server.step(updates, view.server_lr)
        except UpdateError:
            delta, memory = torch.zeros_like(view.params), self.server.memory
        params = view.anchor.pulled(view.params, view.initial, view.lr) - delta
        self.server = Server(self.server.defense, memory, self.server.aside)
        self.view = view._replace(params=params, round=view.round + 1)

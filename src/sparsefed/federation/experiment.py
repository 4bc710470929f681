"""The whole specification of a run, as data: what a TOML file holds and what a result belongs to."""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from sparsefed.attacks import Attack
from sparsefed.clients import Clients, Gradient
from sparsefed.core.errors import SpecError
from sparsefed.core.spec import Spec
from sparsefed.data import Data, Partition
from sparsefed.defenses import Defense
from sparsefed.models import Model
from sparsefed.protocol.anchors import Anchor, Unanchored
from sparsefed.protocol.clips import Clip, Unclipped
from sparsefed.protocol.schedules import Schedule

__all__ = ["Experiment", "read_experiment"]


class Experiment(Spec):
    """One run: equal experiments have equal digests and, on one machine, equal results."""

    seed: int = Field(default=0, ge=0)
    """Where all randomness comes from."""
    rounds: int = Field(gt=0)
    """T, how many rounds to train."""
    cohort: int = Field(gt=0)
    """n, how many clients take part in each round."""
    data: Data
    """The examples."""
    partition: Partition
    """How the training examples are dealt to clients."""
    model: Model
    """The architecture."""
    clients: Clients = Gradient()
    """𝒢, what honest clients do."""
    schedule: Schedule
    """λ, the learning rate of each round."""
    clip: Clip = Unclipped()
    """The bound on an update that the server enforces."""
    defense: Defense
    """𝒜, the aggregation rule."""
    anchor: Anchor = Unanchored()
    """What pulls the model back to where it began, after any rule."""
    attack: Attack | None = None
    """The attack, if any."""
    twin: bool = False
    """Whether to run the same experiment without the attack beside it, to measure the distance."""
    evaluate_every: int | None = Field(default=None, gt=0)
    """Rounds between evaluations; a 24th of the run if not given. In any case the last round is evaluated;
    of an attacked run also the rounds before attackers come and in which they leave, and three of the
    last epoch."""
    precision: Literal["float32", "float64"] = "float32"
    """Type of the parameters and of all arithmetic on them."""
    device: str = Field(default="cpu", pattern=r"^(cpu|cuda(:\d+)?)$")
    """Where to compute: `cpu`, `cuda` or `cuda:N`."""

    @model_validator(mode="after")
    def _attack_in_time(self) -> Self:
        if self.attack is not None and self.attack.presence.starts > self.rounds:
            found = self.attack.presence.starts
            raise ValueError(f"an attack must begin in the {self.rounds} rounds, found round {found}")
        return self

    @model_validator(mode="after")
    def _anchor_holds(self) -> Self:
        if not isinstance(self.anchor, Unanchored):
            self.anchor.check(max(self.schedule.lr(t, self.rounds) for t in range(1, self.rounds + 1)))
        return self


def read_experiment(path: Path | str, changes: Iterable[str] = ()) -> Experiment:
    """The experiment in a TOML file, after `key.path=value` changes; raises `SpecError` with file and key."""
    try:
        table = tomllib.loads(Path(path).read_text())
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file; needed: an experiment in TOML") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise SpecError(f"{path}: cannot be read as text: {problem}") from None
    except tomllib.TOMLDecodeError as problem:
        raise SpecError(f"{path}: not TOML: {problem}") from None
    for change in changes:
        _apply(table, change)
    try:
        return Experiment(**table)
    except SpecError as problem:
        raise SpecError(f"{path}: {str(problem).removeprefix('Experiment: ')}") from None


def _apply(table: dict[str, Any], change: str) -> None:
    """Carry out one `defense.k=5000`; values are TOML, and bare words are strings."""
    key, equals, text = change.partition("=")
    if not (equals and key.strip()):
        raise SpecError(f"--set {change}: needs the form key.path=value")
    *parents, last = key.strip().split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise SpecError(f"--set {change}: `{parent}` holds a value, not keys")
    try:
        table[last] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        table[last] = text.strip()

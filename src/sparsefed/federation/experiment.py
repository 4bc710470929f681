"""The whole specification of a run, as data: what a TOML file holds and what a result belongs to."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import torch
from pydantic import Field, field_validator, model_validator

from sparsefed.attacks import Attack
from sparsefed.clients import Clients, Gradient
from sparsefed.core.errors import SpecError, bare
from sparsefed.core.merge import Tree
from sparsefed.core.origin import Layer, Origin, Typed, laid, origin_of, read_from
from sparsefed.core.places import look_beside
from sparsefed.core.spec import Spec
from sparsefed.core.toml import read_toml
from sparsefed.data import Data, Partition
from sparsefed.defenses import Defense
from sparsefed.models import Model
from sparsefed.protocol.aggregation import Aggregation, Plain
from sparsefed.protocol.anchors import Anchor, Unanchored
from sparsefed.protocol.clips import Clip, Unclipped
from sparsefed.protocol.schedules import Schedule

__all__ = ["Experiment", "laid_over", "layered", "read_base", "read_experiment"]


class Experiment(Spec):
    """One run: equal experiments have equal digests and, on one machine, equal results."""

    younger = frozenset({"aggregation"})

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
    aggregation: Aggregation = Plain()
    """Whether the server receives updates or, under secure aggregation, their sum alone."""
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
    precision: Literal["float32", "tf32", "float64"] = "float32"
    """Type of the parameters and of all arithmetic on them. With `tf32` a GPU rounds the factors of float32
    products and convolutions to 10 bits, which is faster; on a CPU it is `float32`."""
    device: str = "cpu"
    """Where to compute: `cpu`, `cuda` or `cuda:N`."""

    @field_validator("device")
    @classmethod
    def _known_device(cls, device: str) -> str:
        if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
            raise ValueError(f"expected `cpu`, `cuda` or `cuda:N`, found {device!r}")
        return device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the parameters."""
        return torch.float64 if self.precision == "float64" else torch.float32

    @model_validator(mode="after")
    def _attack_in_time(self) -> Self:
        if self.attack is not None and self.attack.presence.starts > self.rounds:
            found = f"round {self.attack.presence.starts}"
            raise SpecError(
                f"expected an attack that begins within `rounds` = {self.rounds}, found {found}",
                ["attack", "presence"],
            )
        return self

    @model_validator(mode="after")
    def _sum_is_enough(self) -> Self:
        rule = self.defense
        self.aggregation.check(self.clip, rule, one_by_one=rule.needs_rows or rule.cost.sums is None)
        return self

    @model_validator(mode="after")
    def _anchor_holds(self) -> Self:
        if not isinstance(self.anchor, Unanchored):
            self.anchor.check(max(self.schedule.lr(t, self.rounds) for t in range(1, self.rounds + 1)))
        return self


def layered(layers: Sequence[Layer], whole: str, **keys: Any) -> Experiment:
    """The experiment that `layers`, laid over each other, and further `keys` amount to.

    Raises `SpecError` that names the place; `whole` is named where no single place is wrong.
    """
    tree, origin = laid(layers), Origin(whole, tuple(layers))
    try:
        return read_from(Experiment(**tree, **keys), origin)
    except SpecError as problem:
        raise origin.blamed(problem) from None


def read_experiment(path: Path | str, changes: Iterable[str] = ()) -> Experiment:
    """The experiment in a TOML file, after `key.path=value` changes; raises `SpecError` with file and key."""
    tree = read_toml(Path(path), "an experiment")
    look_beside(Path(path))
    return layered([Layer(tree, str(path)), Typed.of(changes)], str(path))


def read_base(path: Path, content: Tree, changes: Iterable[str] = ()) -> tuple[Tree, Origin]:
    """The experiment, as data, that a file holds under `base` or is as a whole, and where it was written."""
    if "base" not in content:
        experiment = read_experiment(path, changes)
        return experiment.to_dict(), origin_of(experiment)
    look_beside(path)
    layers = (Layer(content["base"], str(path), ("base",)), Typed.of(changes))
    return laid(layers), Origin(str(path), layers)


def laid_over(plan: Spec, base: Tree, place: tuple[str, ...], changes: Tree, **keys: Any) -> Experiment:
    """The experiment that `changes`, which stand at `place` in a plan's file, make of its `base`.

    `keys` replace those of the base, and None takes one away. Raises `SpecError` that names the key, and the
    file where the plan was read from one.
    """
    origin = origin_of(plan)
    layers = [
        replace(layer, changes={key: value for key, value in layer.changes.items() if key not in keys})
        for layer in origin.layers or (Layer(base, place=("base",)),)
    ]
    file = f"{origin.whole}: " if origin.whole else ""
    given = {key: value for key, value in keys.items() if value is not None}
    own = Layer(changes, origin.whole, place)
    return layered([*layers, own], f"{file}`{'.'.join(map(bare, place))}`", **given)

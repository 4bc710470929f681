"""What a frontier compares: one federation, several defenses, and the shares of attackers they must bear."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import Field, model_validator

from sparsefed.core.errors import SpecError
from sparsefed.core.knobs import Knob, knobs_of
from sparsefed.core.merge import Tree, combinations, merged, nested
from sparsefed.core.origin import origin_of, read_from
from sparsefed.core.spec import Spec
from sparsefed.core.toml import read_toml
from sparsefed.data.holdout import Holdout
from sparsefed.federation.experiment import Experiment, laid_over, read_base
from sparsefed.federation.round import Federation
from sparsefed.frontier.goals import goals_of

__all__ = ["DEFENSES", "Plan", "read_plan", "with_settings"]

_CLIP: Tree = {"type": "FixedClip", "norm": 1.0}
_ANCHOR: Tree = {"type": "InitialModel", "stiffness": 1e-3}
_NO_ANCHOR: Tree = {"type": "Unanchored"}
_NEVER_FORGETS = ["defense.error_decay"]
_USUAL: Mapping[str, Tree] = {
    "clip": {"clip": _CLIP, "defense": {"type": "Mean", "momentum": 0.9}},
    "SparseFed": {
        "clip": _CLIP,
        "defense": {"type": "SparseFed", "k": 1, "momentum": 0.9},
        "fixed": _NEVER_FORGETS,
    },
    "clip, anchored": {
        "clip": _CLIP,
        "defense": {"type": "Mean", "momentum": 0.9},
        "anchor": _ANCHOR,
    },
    "SparseFed, anchored": {
        "clip": _CLIP,
        "defense": {"type": "SparseFed", "k": 1, "momentum": 0.9},
        "anchor": _ANCHOR,
    },
    "quantile clip": {
        "clip": {"type": "QuantileClip"},
        "defense": {"type": "Mean", "momentum": 0.9},
    },
    "trimmed mean": {
        "clip": _CLIP,
        "defense": {"type": "TrimmedMean", "f": 1, "momentum": 0.9},
    },
    "Multi-Krum": {
        "clip": _CLIP,
        "defense": {"type": "MultiKrum", "f": 1, "m": 1, "momentum": 0.9},
    },
    "Bulyan": {"clip": _CLIP, "defense": {"type": "Bulyan", "f": 1, "momentum": 0.9}},
    "FetchSGD": {
        "clip": _CLIP,
        "defense": {"type": "FetchSGD", "k": 1, "columns": 1000, "momentum": 0.9},
        "fixed": _NEVER_FORGETS,
    },
}
DEFENSES: Mapping[str, Tree] = {name: {"anchor": _NO_ANCHOR} | tree for name, tree in _USUAL.items()}
"""The defenses that are compared if a plan names none; the search turns their numbers."""

_NOT_VARIED = {
    "seed": "a frontier reports the seeds in `seeds`",
    "data": "points on different data cannot be compared",
    "attack": "the attacks are those of the goals",
}

_SEARCH_SEED = 1_000_003
"""Far from the seeds that anyone reports on."""


class Plan(Spec):
    """What a frontier's file holds."""

    title: str = ""
    """The heading of the page."""
    note: str = ""
    """What a reader should know, in Markdown."""
    base: Tree
    """The experiment that every defense is laid over; its attack says how points are chosen."""
    defenses: dict[str, Tree] = Field(default=dict(DEFENSES), min_length=1)
    """Changes to the experiment by name; the knobs of what results are searched, but for those in `fixed`."""
    compromised: list[Annotated[float, Field(gt=0, lt=1)]] = Field(default=[], min_length=0)
    """Shares of the clients that are compromised; the experiment's own pool if empty."""
    goals: list[str] = Field(default=["chosen points"], min_length=1)
    """What the attackers want: `chosen points`, `backdoor` or `untargeted`, each searched by itself."""
    only: list[str] = Field(default=[])
    """Which attacks of the goal are tried, such as `PGD`; all of them if empty."""
    seeds: list[Annotated[int, Field(strict=True, ge=0)]] = Field(default=[0, 1, 2], min_length=1)
    """The seeds that are reported; the search has its own."""
    vary: dict[str, list[Any]] = Field(default={})
    """A plain grid in place of the search: values by dotted key, such as `clip.norm`."""

    def experiment(self, defense: str) -> Experiment:
        """The unattacked experiment of one defense, before any knob is turned."""
        own = {key: value for key, value in self.defenses[defense].items() if key != "fixed"}
        return laid_over(self, self.base, ("defenses", defense), own, attack=None)

    def own(self) -> Experiment:
        """The experiment that every defense is laid over, with its attack."""
        return laid_over(self, self.base, ("base",), {})

    def searchable(self, defense: str) -> dict[str, Knob]:
        """What the search may turn; raises `SpecError` where there is nothing."""
        fixed = {*self.vary, *self.defenses[defense].get("fixed", [])}
        found = {key: knob for key, knob in knobs_of(self.experiment(defense)).items() if key not in fixed}
        if not found and not self.vary:
            with origin_of(self).about("defenses", defense):
                raise SpecError("expected a setting with a knob, found none")
        return found

    def stated(self, defense: str) -> dict[str, float]:
        """The knobs' values where a search of a defense starts.

        They are what the file says; of a defense of `DEFENSES`, the experiment's schedule, its clip if of the
        same kind, and the usual momentum and stiffness, but no number that depends on the size of the model
        or of the cohort.
        """
        tree = self.experiment(defense).to_dict()
        if usual := self.defenses[defense] == DEFENSES.get(defense):
            own = self.own().to_dict()["clip"]
            tree["clip"] = own if own["type"] == tree["clip"]["type"] else tree["clip"]
        found = {
            key: reduce(getitem, key.split("."), tree)
            for key, knob in self.searchable(defense).items()
            if not (usual and knob.share_of)
        }
        return {key: value for key, value in found.items() if isinstance(value, int | float)}

    @model_validator(mode="after")
    def _each_seed_once(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"`seeds`: expected each seed once, found {self.seeds}")
        return self

    def check(self) -> None:
        """Raises `SpecError` for a defense that cannot be, or cannot be searched."""
        for defense in self.defenses:
            fixed, known = self.defenses[defense].get("fixed", []), knobs_of(self.experiment(defense))
            if not isinstance(fixed, list) or (set(fixed) - known.keys() and fixed != _NEVER_FORGETS):
                with origin_of(self).about("defenses", defense):
                    raise SpecError(
                        f"expected a list of knobs ({', '.join(known)}), found {fixed!r}", ["fixed"]
                    )
            self.searchable(defense)
        if self.vary:
            self._check_grid()

    def _check_grid(self) -> None:
        """Raises `SpecError` for keys that are the search's own, and where no defense can have any point."""
        for key in self.vary:
            if why := _NOT_VARIED.get(key.partition(".")[0]):
                raise SpecError(f"expected keys of the federation, found `{key}`: {why}", ["vary"])
        problems = []
        for defense in self.defenses:
            for settings in self.grid():
                try:
                    with_settings(self.experiment(defense), settings)
                    return
                except SpecError as problem:
                    problems.append(problem)
        raise problems[0]

    def for_its_data(self) -> Self:
        """The plan with goals that its data can have, where it names none and the default ones need others.

        Data whose labels are sequences, such as the next words of a text, have no points to choose.
        """
        if "goals" in self.model_fields_set:
            return self
        own = self.own()
        with origin_of(own).about("data"):
            dataset = own.data.load()
        known = goals_of(own, dataset, 0.1)
        return self.with_goals([goal for goal in self.goals if goal in known] or [*known][:1])

    def with_goals(self, goals: list[str]) -> Self:
        """The plan with other goals, and the same file behind it."""
        return self if goals == self.goals else read_from(self.but(goals=goals), origin_of(self))

    def shares(self) -> list[float]:
        """The shares of compromised clients to study, the smallest first."""
        own = self.own()
        if self.compromised or own.attack is None:
            return sorted({*self.compromised}) or [0.1]
        presence = own.attack.presence
        if fraction := getattr(presence, "fraction", None):
            return [fraction]
        return [presence.share(Federation.of(own).compromised, own.cohort) or 0.1]

    def identity(self) -> str:
        """A short hash of everything that a search depends on, but for what is only reported."""
        tree = {key: value for key, value in self.to_dict().items() if key in {"base", "vary"}}
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:12]

    def grid(self) -> Iterator[dict[str, Any]]:
        """Every combination of `vary`."""
        yield from combinations(self.vary)


P = TypeVar("P", bound=Plan)


def with_settings(experiment: Experiment, settings: Mapping[str, Any]) -> Experiment:
    """The experiment with some values changed by dotted key, validated like any other."""
    changes = nested({tuple(path.split(".")): value for path, value in settings.items()})
    return Experiment(**merged(experiment.to_dict(), changes))


def for_search(experiment: Experiment) -> Experiment:
    """The experiment as the search sees it: other seed, other points, the test set out of sight."""
    return experiment.but(seed=_SEARCH_SEED, data=Holdout(data=experiment.data))


def read_plan(path: Path, changes: tuple[str, ...] = (), kind: type[P] = Plan, **keys: Any) -> P:
    """The plan in a TOML file: a frontier's, with `[base]`, or a plain experiment, compared with defaults.

    `changes` are the base's, as `--set` takes them; `kind` is what the file holds; `keys` replace its own.
    """
    content = read_toml(path, "an experiment or a frontier")
    base, origin = read_base(path, content, changes)
    if "base" not in content:
        content = {"title": path.stem, "defenses": {**DEFENSES, **_own_defense(base)}}
    try:
        plan = read_from(kind(**content | keys | {"base": base}), origin)
    except SpecError as problem:
        raise problem.seen_from(str(path)) from None
    plan = plan.for_its_data()
    plan.check()
    return plan


def _own_defense(tree: Tree) -> Mapping[str, Tree]:
    """The experiment's own defense, with its settings: one of the usual ones, or one more."""
    own: Tree = {"clip": {"type": "Unclipped"}, "anchor": _NO_ANCHOR}
    own |= {key: tree[key] for key in ("clip", "defense", "anchor") if key in tree}
    kinds = {key: part["type"] for key, part in own.items()}
    for name, usual in DEFENSES.items():
        if kinds == {key: usual[key]["type"] for key in own}:
            return {name: own | {"fixed": usual.get("fixed", [])}}
    if (kinds["clip"], kinds["defense"]) == ("Unclipped", "Mean"):  # none at all
        return {}
    kind = kinds["defense"]
    return {f"your {kind}" if kind in DEFENSES else kind: own}

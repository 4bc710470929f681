"""What an attacker may want, and the attacks that try for it.

A defense is worth what the worst attack of a goal leaves of it. Goals are never mixed: chosen points, a
backdoor, and a model that is useless to everyone.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sparsefed.attacks import (
    PGD,
    Adaptive,
    Attack,
    EasiestFirst,
    Equilibrium,
    FangTrimmedMean,
    Pool,
    SignFlip,
    SlowDrip,
    Targeted,
    TriggerBackdoor,
    Untargeted,
)
from sparsefed.core.errors import SpecError
from sparsefed.data import Dataset
from sparsefed.federation.experiment import Experiment
from sparsefed.runs.record import Row

__all__ = ["GOALS", "Goal", "chosen", "goals_of"]

GOALS = CHOSEN_POINTS, BACKDOOR, UNTARGETED = "chosen points", "backdoor", "untargeted"
_DESCENT = PGD(epochs=5, batch_size=50, local_lr=0.2)
_PATCH = 3


class Goal(NamedTuple):
    """One goal, and the attacks that are tried for it."""

    name: str
    attacks: dict[str, Attack]

    def success(self, attack: str, result: Row, unattacked: float) -> float:
        """What an attack reached, in percent: attack accuracy, or the test accuracy it destroyed.

        A run that diverged is the attacker's.
        """
        if self.attacks[attack].objective.has_points:
            hit = 100.0 if result["outcome"] == "diverged" else result.get("attack_accuracy")
            return hit or 0.0
        return max(unattacked - (result.get("test_accuracy_rest") or 0.0), 0.0)


def goals_of(experiment: Experiment, dataset: Dataset, compromised: float) -> dict[str, Goal]:
    """The goals that make sense for the data, with this share of the clients compromised.

    The experiment's own attack sets the objective's size and the descent's settings where it has any.
    """
    own = experiment.attack
    points = getattr(own.objective, "points", None) if own is not None else None
    descent = own.method if own is not None and type(own.method) is PGD else _DESCENT
    settings = dict(descent)
    presence = Pool(fraction=compromised)
    found: dict[str, Goal] = {}

    def add(name: str, objective: object, methods: dict[str, object]) -> None:
        attacks = {
            method: Attack(objective=objective, presence=presence, method=how)  # type: ignore[arg-type]
            for method, how in methods.items()
        }
        found[name] = Goal(name, attacks)

    # A search draws its points from a part of the training examples, so those bound them too.
    most = max(1, min(200, len(dataset.test.y) // 4, len(dataset.train.y) // 10))
    if dataset.test.y.ndim == 1:
        methods = {
            "PGD": descent,
            "slow drip, not flattened": SlowDrip(**settings, flatness=0.0),
            "slow drip": SlowDrip(**settings),
            "easiest first": EasiestFirst(**settings),
            "equilibrium": Equilibrium(),
            "adaptive": Adaptive(**settings),
        }
        add(CHOSEN_POINTS, Targeted(points=points or most), methods)
    if len(dataset.input_shape) == 3 and min(dataset.input_shape[1:]) > _PATCH:
        add(BACKDOOR, TriggerBackdoor(target=0, points=most), {"trigger": descent})
    add(
        UNTARGETED,
        Untargeted(),
        {"equilibrium": Equilibrium(), "sign flip": SignFlip(), "Fang": FangTrimmedMean()},
    )
    return found


def chosen(goals: dict[str, Goal], name: str, only: Sequence[str] = ()) -> Goal:
    """The goal of that name, of whose attacks `only` some are tried, if any are named; raises `SpecError`."""
    if name not in goals:
        raise SpecError(f"goal: expected one of {', '.join(goals)}, found {name!r}")
    known = goals[name].attacks
    kept = {attack: how for attack, how in known.items() if attack in only or not only}
    unknown = set(only).difference(*(goal.attacks for goal in goals.values()))
    if unknown or not kept:
        found = ", ".join(sorted(unknown) or only)
        raise SpecError(f"only: expected one or more of {', '.join(known)}, found {found!r}")
    return Goal(name, kept)

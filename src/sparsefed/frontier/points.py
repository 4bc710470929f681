"""Points of a frontier: what one defense with some settings is worth against the worst attack of a goal."""

from collections.abc import Iterable, Mapping
from statistics import fmean, stdev
from typing import Any, NamedTuple

from sparsefed.frontier.goals import Goal
from sparsefed.runs.record import Row

__all__ = ["Measured", "Point", "dominated", "grouped", "pareto"]

FALLEN, CREEP = 20.0, 10.0
"""At doubled rounds a defense has fallen above this attack accuracy, or when it rose by more than this."""


class Deviations(NamedTuple):
    """Standard deviations over the seeds of a `Measured`; None with a single seed."""

    unattacked: float | None = None
    test_accuracy: float | None = None
    worst_attack_accuracy: float | None = None


class Measured(NamedTuple):
    """Accuracies of one setting at one horizon, in percent, means over `seeds`."""

    unattacked: float
    """Test accuracy without an attack."""
    test_accuracy: float
    """The lowest test accuracy under the goal's attacks, excluding the targeted points."""
    worst_attack: str
    """The attack that succeeded most."""
    worst_attack_accuracy: float
    """Its success: attack accuracy, or for an untargeted attack the test accuracy it destroyed."""
    seeds: tuple[int, ...] = ()
    deviations: Deviations = Deviations()

    @property
    def values(self) -> tuple[float, float]:
        """What a frontier weighs: test accuracy, and the worst attack's success."""
        return self.test_accuracy, self.worst_attack_accuracy

    @property
    def balance(self) -> float:
        """What is left of the test accuracy when the worst attack's success is taken off."""
        return self.test_accuracy - self.worst_attack_accuracy

    def to_dict(self) -> Row:
        """The numbers for machines."""
        return {**self._asdict(), "seeds": list(self.seeds), "deviations": self.deviations._asdict()}


class Point(NamedTuple):
    """One setting of one defense, as reported."""

    goal: str
    compromised: float
    defense: str
    settings: dict[str, Any]
    searched: Measured
    """On the search's own seed, points and validation split."""
    reported: Measured | None
    """On the test set, with other seeds and points; None where the budget did not reach."""
    doubled: Measured | None
    """The same with twice the rounds."""

    @property
    def delays(self) -> bool | None:
        """Whether doubling the rounds lets the attack in; None where that was not run."""
        if self.reported is None or self.doubled is None:
            return None
        before, after = self.reported.worst_attack_accuracy, self.doubled.worst_attack_accuracy
        return after > before and (after - before > CREEP or before <= FALLEN < after)

    @property
    def verdict(self) -> str:
        """Whether it `holds`, `delays`, or is `broken` at the first horizon already; empty if not known."""
        if self.reported is not None and self.reported.worst_attack_accuracy > FALLEN:
            return "broken"
        return {None: "", True: "delays", False: "holds"}[self.delays]

    def to_dict(self, best: bool) -> Row:
        """The point for machines."""
        found = dict.fromkeys(Measured._fields) if self.reported is None else self.reported.to_dict()
        return {
            "defense": self.defense,
            "settings": self.settings,
            "goal": self.goal,
            "compromised": self.compromised,
            **found,
            "seeds": found["seeds"] or [],
            "pareto": best,
            "delays": self.delays,
            "verdict": self.verdict or None,
            "searched": self.searched.to_dict(),
            "doubled": None if self.doubled is None else self.doubled.to_dict(),
        }


def measured(goal: Goal, results: Mapping[str, Row], seeds: tuple[int, ...]) -> Measured:
    """One seed's results, `""` being the unattacked run, as far as they are there.

    What is missing counts for nothing, so values of a trial under way are bounds: the test accuracy can
    only fall, the attack's success only rise. Settings that do not learn when nobody attacks have lost.
    """
    if results[""]["outcome"] != "trained":  # no better than one label for all
        return Measured(0.0, 0.0, "none", 100.0, seeds)
    plain = results[""].get("test_accuracy") or 0.0
    test, worst, name = plain, 0.0, "none"
    for attack in goal.attacks:
        if (result := results.get(attack)) is None:
            continue
        test = min(test, result.get("test_accuracy_rest") or 0.0)
        success = goal.success(attack, result, plain)
        if success > worst or name == "none":
            worst, name = success, attack
    return Measured(plain, test, name, worst, seeds)


def averaged(parts: Iterable[Measured]) -> Measured | None:
    """The mean over seeds; the worst attack is the one of the highest mean damage's seed."""
    found = list(parts)
    if not found:
        return None
    worst = max(found, key=lambda part: part.worst_attack_accuracy).worst_attack
    columns = zip(*((part.unattacked, *part.values) for part in found), strict=True)
    means, deviations = zip(*map(_spread, columns), strict=True)
    unattacked, test, success = means
    seeds = tuple(seed for part in found for seed in part.seeds)
    return Measured(unattacked, test, worst, success, seeds, Deviations(*deviations))


def _spread(numbers: tuple[float, ...]) -> tuple[float, float | None]:
    """Mean and standard deviation."""
    return fmean(numbers), stdev(numbers) if len(numbers) > 1 else None


def dominated(values: tuple[float, float], others: Iterable[tuple[float, float]]) -> bool:
    """Whether another (test accuracy, attack success) is at least as good in both, and better in one."""
    test, attack = values
    return any(t >= test and a <= attack and (t, a) != (test, attack) for t, a in others)


def pareto(values: list[tuple[float, float]]) -> list[bool]:
    """Which of some (test accuracy, attack success) are on the frontier."""
    return [not dominated(value, values) for value in values]


def grouped(points: list[Point]) -> dict[tuple[str, float], list[Point]]:
    """Points by goal and share of compromised clients, in the order they come."""
    groups: dict[tuple[str, float], list[Point]] = {}
    for point in points:
        groups.setdefault((point.goal, point.compromised), []).append(point)
    return groups

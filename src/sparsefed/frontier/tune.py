"""Tuning: the defense and settings that hold most at an allowed price, and where they break."""

from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from sparsefed.attacks import Attack
from sparsefed.core.errors import SpecError
from sparsefed.core.text import amount
from sparsefed.federation.experiment import Experiment
from sparsefed.federation.round import Federation
from sparsefed.frontier.budget import Budget
from sparsefed.frontier.goals import Goal, chosen, goals_of
from sparsefed.frontier.ledger import Progress
from sparsefed.frontier.plan import Plan, with_settings
from sparsefed.frontier.points import FALLEN, Measured, Point, measured
from sparsefed.frontier.search import frontier
from sparsefed.frontier.storage import searches_in
from sparsefed.runs.record import Row
from sparsefed.runs.results import LEARNED
from sparsefed.runs.simulate import simulate

__all__ = ["SHARES", "Tuned", "tune"]

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4)
"""The shares of compromised clients at which the answer is tried until it breaks."""


class Tuned(NamedTuple):
    """The answer, and what it rests on."""

    experiment: Experiment
    """What to run: the federation with the chosen defense, without an attack."""
    attack: Attack
    """The worst attack of the goal that was found, to test the answer with."""
    point: Point
    """The chosen settings as reported."""
    loss: float
    """Points of test accuracy under the worst attack below the best unattacked run of any defense."""
    sweep: dict[float, Measured]
    """What it holds, by the share of compromised clients."""
    others: list[Point]
    """The best of every other defense at the same price."""

    @property
    def breaks_at(self) -> float | None:
        """The least share tried at which the worst attack succeeds on more than 20 %; None if at none."""
        return next((p for p, found in self.sweep.items() if found.worst_attack_accuracy > FALLEN), None)

    def to_dict(self) -> dict[str, Any]:
        """Everything for machines."""
        return {
            "experiment": self.experiment.to_dict(),
            "point": self.point.to_dict(True),
            "loss": self.loss,
            "breaks_at": self.breaks_at,
            "sweep": {f"{share:g}": found.to_dict() for share, found in self.sweep.items()},
            "others": [other.to_dict(False) for other in self.others],
        }


def tune(
    plan: Plan,
    runs: Path,
    budget: Budget,
    *,
    max_loss: float,
    jobs: int = 1,
    threads: int = 1,
    cluster: str | None = None,
    fresh: bool = False,
) -> Generator[Progress, None, Tuned]:
    """Search all defenses of a plan with one share and one goal, and choose.

    Raises `SpecError` where no defense stays within `max_loss` points of the best unattacked test accuracy.
    """
    points = yield from frontier(plan, runs, budget, jobs, threads, cluster, fresh=fresh)
    reported = [point for point in points if point.reported is not None]
    if not reported:
        raise SpecError(f"budget: expected enough to report one setting, found {budget}: the search used it")
    best = max(_of(point).unattacked for point in reported)
    if best == 0:
        raise SpecError(
            "expected a setting that learns, one that avoids at least "
            f"{LEARNED:g} % of the errors of always naming the most common label, found none: "
            f"{_closest(plan, reported, runs)}; allow more rounds or a larger budget"
        )
    within = [point for point in reported if best - _of(point).test_accuracy <= max_loss]
    if not within:
        least = min((best - _of(point).test_accuracy for point in reported), default=None)
        found = "none reported" if least is None else f"a loss of {least:.1f} at least"
        wanted = f"a defense within {max_loss:g} points of {best:.1f} %"
        raise SpecError(f"--max-loss: expected {wanted}, found {found}; allow more loss or a larger budget")
    choice = min(within, key=_rank)
    others = {}
    for point in sorted(within, key=_rank):
        if point.defense != choice.defense:
            others.setdefault(point.defense, point)
    answer = with_settings(plan.experiment(choice.defense), choice.settings)
    run = partial(simulate, runs=searches_in(runs), fresh=fresh)
    goals = _goals(plan, choice)
    sweep: dict[float, Measured] = {}
    for share, goal in goals.items():
        sweep[share] = yield from _at(answer.but(seed=plan.seeds[0]), goal, run, share)
        if sweep[share].worst_attack_accuracy > FALLEN:
            break
    loss = best - _of(choice).test_accuracy
    return Tuned(answer, _worst(plan, choice), choice, loss, sweep, list(others.values()))


def _of(point: Point) -> Measured:
    assert point.reported is not None
    return point.reported


def _closest(plan: Plan, points: list[Point], runs: Path) -> str:
    """The setting with the best unattacked test accuracy, though it did not learn, and that accuracy."""
    found: dict[str, float] = {}
    for point in points:
        experiment = with_settings(plan.experiment(point.defense), point.settings).but(seed=plan.seeds[0])
        result = simulate(experiment, searches_in(runs))  # it was reported, so nothing is run
        settings = ", ".join(f"{key} = {value:.4g}" for key, value in point.settings.items())
        found[f"{point.defense} with {settings}"] = result["test_accuracy"] or 0.0
    best = max(found, key=found.__getitem__)
    return f"the best of {amount(len(points), 'setting')} was {best}, at {found[best]:.1f} % test accuracy"


def _rank(point: Point) -> tuple[bool, bool, float]:
    """What holds, then what only delays; of each, the least success of the worst attack at any horizon."""
    worst = max(m.worst_attack_accuracy for m in (point.reported, point.doubled) if m is not None)
    return point.verdict == "broken", point.verdict != "holds", worst


def _worst(plan: Plan, choice: Point) -> Attack:
    """The attack that succeeded most against the choice; the goal's first where none did."""
    dataset = Federation.of(plan.experiment(choice.defense)).dataset
    attacks = chosen(goals_of(plan.own(), dataset, choice.compromised), choice.goal, plan.only).attacks
    return attacks.get(_of(choice).worst_attack) or next(iter(attacks.values()))


def _goals(plan: Plan, choice: Point) -> dict[float, Goal]:
    own = plan.own()
    fed = Federation.of(plan.experiment(choice.defense))
    shares = [share for share in SHARES if round(share * len(fed.population)) > 0]
    return {share: chosen(goals_of(own, fed.dataset, share), choice.goal, plan.only) for share in shares}


def _at(
    answer: Experiment, goal: Goal, run: Callable[[Experiment], Row], share: float
) -> Generator[Progress, None, Measured]:
    results = {}
    for name in ("", *goal.attacks):
        results[name] = run(answer.but(attack=goal.attacks[name] if name else None))
        yield Progress(1.0, f"{100 * share:g} % compromised, {name or 'unattacked'}")
    return measured(goal, results, (answer.seed,))

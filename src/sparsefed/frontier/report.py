"""The report of a frontier: the best settings again, with other seeds and at twice the rounds."""

from collections.abc import Generator, Iterator
from functools import partial

from sparsefed.federation.experiment import Experiment
from sparsefed.frontier.budget import SEARCHED
from sparsefed.frontier.finalists import Finalist, finalists_of
from sparsefed.frontier.ledger import Ledger, Progress, Task
from sparsefed.frontier.plan import Plan, with_settings
from sparsefed.frontier.points import Measured, Point, averaged, measured
from sparsefed.runs.record import Row

__all__ = ["report"]

Found = dict[tuple[int, int, int], dict[str, Row]]
"""Results by finalist, seed and multiple of the rounds, then by attack."""


def report(ledger: Ledger) -> Generator[Progress, None, list[Point]]:
    """Run the best settings again with other seeds, on the test set, and with twice the rounds."""
    finalists = [final for study in ledger.studies for final in finalists_of(study, ledger.best(study))]
    found: Found = {}
    tasks: dict[str, tuple[tuple[int, int, int], str]] = {}

    def tasks_left() -> Iterator[Task]:
        for place, seed, horizon in _order(finalists, ledger.plan):
            final = finalists[place]
            for attack in ("", *final.study.goal.attacks):
                experiment = _reported(ledger.plan, final, seed, horizon, attack)
                if ledger.budget.left(ledger.spent) <= 0 and not ledger.cached(experiment):
                    continue
                name = f"{ledger.name(final.study)}, choice {final.rank + 1}"
                key = f"{name}, seed {seed}, rounds ×{horizon}, {attack or 'unattacked'}"
                tasks[key] = ((place, seed, horizon), attack)
                ledger.study_of[key] = final.study
                yield key, experiment

    for key, result in ledger.done(partial(next, tasks_left(), None)):
        where, attack = tasks[key]
        if isinstance(result, dict):
            found.setdefault(where, {})[attack] = result
        yield Progress(1 - (1 - SEARCHED) * ledger.budget.left(ledger.spent), key)
    return [_point(ledger.plan, place, final, found) for place, final in enumerate(finalists)]


def _order(finalists: list[Finalist], plan: Plan) -> Iterator[tuple[int, int, int]]:
    """What to report first: every defense once at both horizons, then its other points, then seeds."""
    first, *others = plan.seeds
    heads = [place for place, final in enumerate(finalists) if final.rank == 0]
    rest = [place for place, final in enumerate(finalists) if final.rank > 0]
    for places in (heads, rest):
        for horizon in (1, 2):
            yield from ((place, first, horizon) for place in places)
    for seed in others:
        for horizon in (1, 2):
            yield from ((place, seed, horizon) for place in (*heads, *rest))


def _reported(plan: Plan, final: Finalist, seed: int, horizon: int, attack: str) -> Experiment:
    plain = plan.experiment(final.study.defense)
    chosen = with_settings(plain, final.settings)
    experiment = chosen.but(seed=seed, rounds=horizon * chosen.rounds)
    return experiment if not attack else experiment.but(attack=final.study.goal.attacks[attack])


def _point(plan: Plan, place: int, final: Finalist, found: Found) -> Point:
    goal, study = final.study.goal, final.study

    def whole(horizon: int) -> dict[int, Measured]:
        """By seed, what has been run against every attack."""
        return {
            seed: measured(goal, results, (seed,))
            for seed in plan.seeds
            if len(results := found.get((place, seed, horizon), {})) == 1 + len(goal.attacks)
        }

    once, twice = whole(1), whole(2)
    if both := once.keys() & twice.keys():  # means over different seeds are not compared
        once, twice = ({seed: each[seed] for seed in plan.seeds if seed in both} for each in (once, twice))
    reported, doubled = averaged(once.values()), averaged(twice.values())
    return Point(goal.name, study.share, study.defense, final.settings, final.searched, reported, doubled)

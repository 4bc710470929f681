"""The frontier: search every defense's settings, then report the best with other seeds and horizons."""

import math
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from sparsefed.core.errors import SparseFedError, SpecError
from sparsefed.core.text import amount
from sparsefed.federation.experiment import Experiment
from sparsefed.federation.round import Federation
from sparsefed.frontier.budget import SEARCHED, Budget, least
from sparsefed.frontier.finalists import Finalist, finalists_of
from sparsefed.frontier.goals import chosen, goals_of
from sparsefed.frontier.plan import Plan, with_settings
from sparsefed.frontier.points import Measured, Point, averaged, measured
from sparsefed.frontier.study import Question, Study, Trial, searches_in, storage_in
from sparsefed.runs.cells import run_each
from sparsefed.runs.record import Record, Row

__all__ = ["Choice", "Progress", "frontier", "searched"]


class Progress(NamedTuple):
    """Where a frontier stands."""

    share: float
    """How much of the budget is used, from 0 to 1."""
    what: str
    """What was run last."""


class Choice(NamedTuple):
    """What a search chose for a defense."""

    settings: dict[str, Any]
    tried: int
    """Among how many settings."""


def frontier(  # noqa: PLR0917
    plan: Plan, runs: Path, budget: Budget, jobs: int = 1, threads: int = 1, cluster: str | None = None
) -> Generator[Progress, None, list[Point]]:
    """Search and report; yields progress after every run and returns the points.

    Everything is kept under `runs`: a frontier that was stopped resumes, and no run is done twice.
    Raises `SpecError` where the budget does not reach for a single setting; before any run if it is in runs.
    """
    work = _Work(plan, runs, budget, jobs, threads, cluster)
    attacks = len(work.studies[0].goal.attacks)
    one = f"{amount(1 + attacks, 'run')}, one without an attack and {attacks} with"
    budget.require(
        least(attacks, jobs),
        f"one setting takes {one}; the search, with {100 * SEARCHED:g} % of the budget, must finish one, "
        "and the report runs it again",
    )
    yield from work.search()
    return (yield from work.report())


def searched(
    plan: Plan, runs: Path, budget: Budget, jobs: int = 1, threads: int = 1
) -> Generator[Progress, None, dict[str, Choice]]:
    """Search only: the settings of each defense that hold most at the first of `LOSSES`.

    A defense without a setting that was tried to its end is left out. Raises `SpecError` where all are.
    """
    work = _Work(plan, runs, budget, jobs, threads)
    yield from work.search(share=1.0)
    return {
        study.defense: Choice(final.settings, study.tried)
        for study in work.studies
        for final in finalists_of(study, work.best(study))[:1]
    }


Task = tuple[str, Experiment]


class _Offers:
    """An iterator that may have more after it had none: what is under way decides what comes next."""

    def __init__(self, offer: Callable[[], Task | None]) -> None:
        self.offer = offer

    def __iter__(self) -> Iterator[Task]:
        return self

    def __next__(self) -> Task:
        if (task := self.offer()) is None:
            raise StopIteration
        return task


class _Work:
    """The studies of a plan, and what was spent on them."""

    def __init__(  # noqa: PLR0917
        self,
        plan: Plan,
        runs: Path,
        budget: Budget,
        jobs: int,
        threads: int,
        cluster: str | None = None,
    ) -> None:
        self.plan, self.budget, self.jobs, self.threads = plan, budget, jobs, threads
        self.runs = searches_in(runs)
        self.cluster = cluster
        self.problem = ""
        self._study_of: dict[str, Study] = {}
        storage = storage_in(runs, plan)
        fed = Federation.of(plan.experiment(next(iter(plan.defenses))))
        sizes = {"params": fed.network.size, "cohort": fed.spec.cohort}
        own = plan.own()
        self.studies = [
            Study(
                plan,
                Question(defense, share, chosen(goals_of(own, fed.dataset, share), goal, plan.only)),
                storage,
                sizes,
            )
            for share in plan.shares()
            for goal in dict.fromkeys(plan.goals)
            for defense in plan.defenses
        ]

    @property
    def spent(self) -> Budget:
        """What all searches have cost, over all their restarts."""
        runs, seconds = zip(*(study.spent for study in self.studies), strict=True)
        return Budget(sum(runs), sum(seconds))

    def _cost(self, study: Study, under_way: int) -> tuple[float, int]:
        """What a search has cost in the budget's unit, and will have cost when what is under way has ended.

        All searches get the same, so a slow rule gets fewer settings.
        """
        runs, seconds = study.searched
        spent = seconds if math.isinf(self.budget.runs) else runs
        return spent * (1 + under_way / max(1, study.count - under_way)), study.count

    def search(self, share: float = SEARCHED) -> Iterator[Progress]:
        """Turn the knobs of the defense that has cost least until the search's part of the budget is used."""
        limit, running = self.budget.part(share), dict[str, Trial]()
        waiting: list[Trial] = []

        def next_trial() -> Trial | None:
            if waiting:
                return waiting.pop()
            busy = Counter(id(trial.study) for trial in running.values())
            open_ = [study for study in self.studies if not study.exhausted]
            first = min(open_, key=lambda study: self._cost(study, busy[id(study)]), default=None)
            return None if first is None else first.ask()

        def offer() -> Task | None:
            while limit.left(self.spent) > 0 and (trial := next_trial()) is not None:
                try:
                    name, experiment = trial.next()
                except SpecError:
                    trial.give_up()
                    continue
                key = f"{self._name(trial.study)}, setting {trial.number + 1}, {name or 'unattacked'}"
                running[key] = trial
                self._study_of[key] = trial.study
                return key, experiment
            return None

        for key, result in self._done(offer, searching=True):
            trial = running.pop(key)
            if result is None:
                trial.give_up()
            elif not trial.record(result):
                waiting.append(trial)
            yield Progress(share * (1 - limit.left(self.spent)), key)
        if not any(study.finished() for study in self.studies):
            runs = 1 + len(self.studies[0].goal.attacks)
            raise SpecError(
                f"budget: expected enough for one setting, which takes {amount(runs, 'run')}; "
                f"found {self.budget}; the search, {100 * share:g} % of it, ended after "
                f"{amount(round(self.spent.runs), 'run')} in {self.spent.seconds:.0f} s{self.problem}"
            )

    def report(self) -> Generator[Progress, None, list[Point]]:
        """Run the best settings again with other seeds, on the test set, and with twice the rounds."""
        finalists = [final for study in self.studies for final in finalists_of(study, self.best(study))]
        found: dict[tuple[int, int, int], dict[str, Row]] = {}
        tasks: dict[str, tuple[tuple[int, int, int], str]] = {}

        def tasks_left() -> Iterator[Task]:
            for place, seed, horizon in self._order(finalists):
                final = finalists[place]
                for attack in ("", *final.study.goal.attacks):
                    experiment = self._reported(final, seed, horizon, attack)
                    if self.budget.left(self.spent) <= 0 and not self._cached(experiment):
                        continue
                    name = f"{self._name(final.study)}, choice {final.rank + 1}"
                    key = f"{name}, seed {seed}, rounds ×{horizon}, {attack or 'unattacked'}"
                    tasks[key] = ((place, seed, horizon), attack)
                    self._study_of[key] = final.study
                    yield key, experiment

        for key, result in self._done(partial(next, tasks_left(), None)):
            where, attack = tasks[key]
            if result is not None:
                found.setdefault(where, {})[attack] = result
            yield Progress(1 - (1 - SEARCHED) * self.budget.left(self.spent), key)
        return [self._point(place, final, found) for place, final in enumerate(finalists)]

    def _order(self, finalists: "list[Finalist]") -> Iterator[tuple[int, int, int]]:
        """What to report first: every defense once at both horizons, then its other points, then seeds."""
        first, *others = self.plan.seeds
        heads = [place for place, final in enumerate(finalists) if final.rank == 0]
        rest = [place for place, final in enumerate(finalists) if final.rank > 0]
        for places in (heads, rest):
            for horizon in (1, 2):
                yield from ((place, first, horizon) for place in places)
        for seed in others:
            for horizon in (1, 2):
                yield from ((place, seed, horizon) for place in (*heads, *rest))

    def _reported(self, final: Finalist, seed: int, horizon: int, attack: str) -> Experiment:
        plain = self.plan.experiment(final.study.defense)
        experiment = with_settings(plain, final.settings).but(seed=seed, rounds=horizon * plain.rounds)
        return experiment if not attack else experiment.but(attack=final.study.goal.attacks[attack])

    def _point(self, place: int, final: Finalist, found: dict[tuple[int, int, int], dict[str, Row]]) -> Point:
        goal, study = final.study.goal, final.study

        def at(horizon: int) -> Measured | None:
            whole = [
                (seed, results)
                for seed in self.plan.seeds
                if len(results := found.get((place, seed, horizon), {})) == 1 + len(goal.attacks)
            ]
            return averaged(measured(goal, results, (seed,)) for seed, results in whole)

        return Point(goal.name, study.share, study.defense, final.settings, final.searched, at(1), at(2))

    def best(self, study: Study) -> float:
        """The best unattacked test accuracy of any defense in the same search."""
        peers = [
            peer for peer in self.studies if (peer.share, peer.goal.name) == (study.share, study.goal.name)
        ]
        return max((m.unattacked for peer in peers for _, m in peer.finished()), default=0.0)

    def _name(self, study: Study) -> str:
        """The defense, and what else tells this search from the others of the plan."""
        shares = {each.share for each in self.studies}
        goals = {each.goal.name for each in self.studies}
        share = f", {100 * study.share:g} %" if len(shares) > 1 else ""
        goal = f", {study.goal.name}" if len(goals) > 1 else ""
        return f"{study.defense}{share}{goal}"

    def _done(
        self, offer: Callable[[], Task | None], searching: bool = False
    ) -> Iterator[tuple[str, Row | None]]:
        """Results as they come, None for settings that cannot be run; keeps account of the budget."""
        begun, free = dict[str, float](), set[str]()

        def watched() -> Task | None:
            if (task := offer()) is not None:
                begun[task[0]] = time.monotonic()
                if self._cached(task[1]):
                    free.add(task[0])
            return task

        where = {"jobs": self.jobs, "cluster": self.cluster, "threads": self.threads}
        for key, outcome in run_each(_Offers(watched), self.runs, **where):
            seconds = time.monotonic() - begun.pop(key)
            self._study_of.pop(key).charge(key not in free, seconds, searching)
            if failed := isinstance(outcome, SparseFedError):
                self.problem = f"; {key}: {outcome}"
            yield key, None if failed else outcome

    def _cached(self, experiment: Experiment) -> bool:
        return Record(self.runs, experiment).has_ended

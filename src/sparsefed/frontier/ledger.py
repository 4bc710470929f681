"""The runs of a frontier: its searches, what they have cost, and results as they come."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from sparsefed.core.errors import CrashError, SparseFedError, SpecError, UpdateError, named
from sparsefed.federation.experiment import Experiment
from sparsefed.federation.round import Federation
from sparsefed.frontier.budget import Budget
from sparsefed.frontier.goals import chosen, goals_of
from sparsefed.frontier.plan import Plan, for_search, with_settings
from sparsefed.frontier.storage import searches_in, storage_in
from sparsefed.frontier.study import Question, Study
from sparsefed.runs.cells import run_each
from sparsefed.runs.record import Outcome, Record, ended, refuse_stale

__all__ = ["Progress", "Task", "Ledger"]


class Progress(NamedTuple):
    """Where a frontier stands."""

    share: float
    """How much of the budget is used, from 0 to 1."""
    what: str
    """What was run last."""


Task = tuple[str, Experiment]
"""A name, and the experiment that goes by it."""


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


class Ledger:
    """The studies of a plan, and what was spent on them."""

    def __init__(  # noqa: PLR0917
        self,
        plan: Plan,
        runs: Path,
        budget: Budget,
        jobs: int,
        threads: int,
        cluster: str | None = None,
        *,
        fresh: bool = False,
    ) -> None:
        self.plan, self.budget, self.fresh = plan, budget, fresh
        self.runs = searches_in(runs)
        self.how = {"jobs": jobs, "cluster": cluster, "threads": threads, "fresh": fresh}
        self.study_of: dict[str, Study] = {}
        fed = Federation.of(plan.experiment(next(iter(plan.defenses))))
        sizes = {"params": fed.network.size, "cohort": fed.spec.cohort}
        own = plan.own()
        questions = [
            Question(defense, share, chosen(goals_of(own, fed.dataset, share), goal, plan.only))
            for share in plan.shares()
            for goal in dict.fromkeys(plan.goals)
            for defense in plan.defenses
        ]
        for question in questions[:: len(plan.defenses)]:
            _check_attacks(plan, question)
        self._study = partial(Study, plan, storage=storage_in(runs, plan), sizes=sizes)
        self.studies = [self._study(question) for question in questions]

    def begin(self) -> None:
        """Before a search goes on: what it did with other files of data or code says nothing of these.

        Such studies begin anew if `fresh`, and those that could run no setting; else raises `RunError`.
        """
        records = {id(study): [*self._begun(study)] for study in self.studies}
        if not self.fresh:
            return refuse_stale(chain(*records.values()))
        for place, study in enumerate(self.studies):
            failed = study.refused and not study.tried
            if failed or any(record.stale() for record in records[id(study)]):
                study.discard()
                self.studies[place] = self._study(study.question)
        return None

    def _begun(self, study: Study) -> Iterator[Record]:
        """The unattacked runs of the settings that a study has begun; damaged ones are not needed again."""
        for settings in study.begun():
            with suppress(SpecError):
                record = Record(self.runs, with_settings(study.base, settings))
                if record.is_readable:
                    yield record

    @property
    def runs_of_one(self) -> int:
        """How many runs one setting takes at most."""
        return max(study.runs_of_one for study in self.studies)

    @property
    def spent(self) -> Budget:
        """What all searches have cost, over all their restarts."""
        return Budget.total(study.spent for study in self.studies)

    @property
    def searched(self) -> Budget:
        """The part of `spent` that went into searching."""
        return Budget.total(study.searched for study in self.studies)

    def best(self, study: Study) -> float:
        """The best unattacked test accuracy of any defense in the same search."""
        peers = [
            peer for peer in self.studies if (peer.share, peer.goal.name) == (study.share, study.goal.name)
        ]
        return max((m.unattacked for peer in peers for _, m in peer.finished()), default=0.0)

    def name(self, study: Study) -> str:
        """The defense, and what else tells this search from the others of the plan."""
        shares = {each.share for each in self.studies}
        goals = {each.goal.name for each in self.studies}
        share = f", {100 * study.share:g} %" if len(shares) > 1 else ""
        goal = f", {study.goal.name}" if len(goals) > 1 else ""
        return f"{study.defense}{share}{goal}"

    def done(
        self, offer: Callable[[], Task | None], searching: bool = False
    ) -> Iterator[tuple[str, Outcome]]:
        """Results as they come, or why settings cannot be run; keeps account of the budget.

        Tasks with the same experiment are one run. Raises what else ends a run, such as a full disk: the same
        command resumes it.
        """
        begun, free, alike = dict[str, float](), set[str](), dict[str, list[str]]()

        def watched() -> Task | None:
            while (task := offer()) is not None:
                key, experiment = task
                begun[key] = time.monotonic()
                same = alike.setdefault(experiment.digest(), [])
                same.append(key)
                if len(same) > 1 or self.cached(experiment):
                    free.add(key)
                if len(same) == 1:
                    return task
            return None

        try:
            for first, outcome in run_each(_Offers(watched), self.runs, **self.how):
                digest = next(digest for digest, keys in alike.items() if first in keys)
                refused = isinstance(outcome, SpecError | UpdateError | CrashError)
                if isinstance(outcome, SparseFedError) and not refused:
                    raise outcome
                for key in alike.pop(digest):
                    seconds = time.monotonic() - begun.pop(key)
                    self.study_of.pop(key).charge(key not in free, seconds * (key == first), searching)
                    yield key, outcome
        finally:
            with suppress(OSError):  # on a full disk what ended the run is the news
                for key in [same[0] for same in alike.values() if same[0] in begun]:
                    # Stopped: the time is spent, the runs will be run on.
                    self.study_of[key].charge(0, time.monotonic() - begun[key], searching)

    def cached(self, experiment: Experiment) -> bool:
        """Whether this has been run, and need not be started over."""
        record = Record(self.runs, experiment)
        return isinstance(ended(record), dict) if self.fresh else record.has_ended


def _check_attacks(plan: Plan, question: Question) -> None:
    """Raises `SpecError` or `DataError` where there is nobody to attack, or nothing to aim at."""
    defense, share, goal = question
    reported = plan.experiment(defense)
    attacks = {(attack.objective, attack.presence): attack for attack in goal.attacks.values()}
    with named(f"{100 * share:g} % of the clients compromised"):
        for attack in attacks.values():
            for experiment in (for_search(reported), reported):
                Federation.of(experiment.but(attack=attack))

"""The frontier: search every defense's settings, then report the best with other seeds and horizons."""

import math
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sparsefed.core.errors import SpecError
from sparsefed.core.text import amount
from sparsefed.frontier.budget import SEARCHED, Budget, least
from sparsefed.frontier.finalists import LOSSES, best_of
from sparsefed.frontier.ledger import Ledger, Progress, Task
from sparsefed.frontier.plan import Plan
from sparsefed.frontier.points import Point
from sparsefed.frontier.report import report
from sparsefed.frontier.study import Study, Trial

__all__ = ["Choice", "frontier", "searched"]


class Choice(NamedTuple):
    """What a search chose for a defense."""

    settings: dict[str, Any]
    tried: int
    """Among how many settings."""


def frontier(  # noqa: PLR0917
    plan: Plan,
    runs: Path,
    budget: Budget,
    jobs: int = 1,
    threads: int = 1,
    cluster: str | None = None,
    *,
    fresh: bool = False,
) -> Generator[Progress, None, list[Point]]:
    """Search and report; yields progress after every run and returns the points.

    Everything is kept under `runs`: a frontier that was stopped resumes, and no run is done twice. With
    `fresh`, what was found and run with files that have changed since is started over, and so are runs whose
    folders are damaged. Raises `SpecError` where the budget does not reach for a single setting; before any
    run if it is in runs.
    """
    ledger = Ledger(plan, runs, budget, jobs, threads, cluster, fresh=fresh)
    one = f"{amount(ledger.runs_of_one, 'run')}, one without an attack and {ledger.runs_of_one - 1} with"
    budget.require(
        least(ledger.runs_of_one),
        f"one setting takes {one}; the search, with {100 * SEARCHED:g} % of the budget, must finish one, "
        "and the report runs it again",
    )
    yield from _search(ledger)
    return (yield from report(ledger))


def searched(
    plan: Plan, runs: Path, budget: Budget, jobs: int = 1, threads: int = 1, *, fresh: bool = False
) -> Generator[Progress, None, dict[str, Choice]]:
    """Search only: of each defense the settings that hold most at the first of `LOSSES`.

    Where none keep within it, the most accurate. A defense without a setting that was tried to its end is
    left out. Raises `SpecError` where all are.
    """
    ledger = Ledger(plan, runs, budget, jobs, threads, fresh=fresh)
    yield from _search(ledger, share=1.0)
    return {
        study.defense: Choice(best[0], study.tried)
        for study in ledger.studies
        if (best := best_of(study, ledger.best(study), LOSSES[0])) is not None
    }


def _search(ledger: Ledger, share: float = SEARCHED) -> Iterator[Progress]:
    """Turn the knobs of the defense that has cost least until the search's part of the budget is used."""
    ledger.begin()
    limit, running = ledger.budget.part(share), dict[str, Trial]()
    waiting: list[Trial] = []

    def to_spare() -> float:
        """How many runs are left beside those that the settings under way may still take."""
        begun = sum(trial.runs_left for trial in (*running.values(), *waiting))
        return limit.runs - ledger.searched.runs - begun

    def next_trial() -> Trial | None:
        if waiting:
            return waiting.pop()
        for study in ledger.studies:  # their runs were spared for when they were begun
            if study.stopped and (trial := study.ask()) is not None:
                return trial
        busy, most = Counter(id(trial.study) for trial in running.values()), to_spare()
        while open_ := [each for each in ledger.studies if not each.exhausted and each.runs_of_one <= most]:
            first = min(open_, key=lambda study: _cost(ledger, study, busy[id(study)]))
            if (trial := first.ask()) is not None:
                return trial
        return None

    def offer() -> Task | None:
        while limit.left(ledger.searched) > 0 and (trial := next_trial()) is not None:
            try:
                name, experiment = trial.next()
            except SpecError as problem:
                trial.give_up(str(problem))
                continue
            key = f"{ledger.name(trial.study)}, setting {trial.number + 1}, {name or 'unattacked'}"
            running[key] = trial
            ledger.study_of[key] = trial.study
            return key, experiment
        return None

    for key, result in ledger.done(offer, searching=True):
        trial = running.pop(key)
        if not isinstance(result, dict):
            trial.give_up(str(result))
        elif not trial.record(result):
            waiting.append(trial)
        yield Progress(share * (1 - limit.left(ledger.searched)), key)
    if not any(study.finished() for study in ledger.studies):
        reasons = {f"{ledger.name(study)}: {study.refused}" for study in ledger.studies if study.refused}
        if reasons and all(study.exhausted for study in ledger.studies):
            again = "`--fresh` tries them again"
            raise SpecError(f"expected a setting that can be run, found none; {min(reasons)}; {again}")
        raise SpecError(
            f"budget: expected enough for one setting, which takes {amount(ledger.runs_of_one, 'run')}; "
            f"found {ledger.budget}; the search, {100 * share:g} % of it, ended after "
            f"{amount(round(ledger.searched.runs), 'run')} in {ledger.searched.seconds:.0f} s"
            f"{''.join(f'; {why}' for why in sorted(reasons)[:1])}"
        )


def _cost(ledger: Ledger, study: Study, under_way: int) -> tuple[bool, float, int]:
    """What a search has cost in the budget's unit, and will have cost when what is under way has ended.

    All searches get the same, so a slow rule gets fewer settings. What its first setting costs is not known
    before it has ended; until then the others come first.
    """
    runs, seconds = study.searched
    spent = seconds if math.isinf(ledger.budget.runs) else runs
    unknown = under_way > 0 and not study.tried
    return unknown, spent * (1 + under_way / max(1, study.count - under_way)), study.count

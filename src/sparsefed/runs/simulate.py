"""From the first round to the result: the loop with its metrics, resumable at any moment.

The loop is a generator of rows, one per round, so that a progress bar, a test or a notebook can
stand around it without callbacks.
"""

from collections.abc import Generator
from dataclasses import replace
from functools import partial
from pathlib import Path

from sparsefed.core.errors import SpecError, UpdateError
from sparsefed.core.origin import origin_of
from sparsefed.core.ranks import BLOCKS, Ranks, told
from sparsefed.federation.experiment import Experiment
from sparsefed.federation.metrics import Evaluation, evaluate
from sparsefed.federation.round import Federation, RoundReport, ServerState, run_round
from sparsefed.runs.journal import Journal, Saved, opened
from sparsefed.runs.record import Row
from sparsefed.runs.results import METRICS, compose, environment, is_ruined, plain
from sparsefed.runs.threads import begun_with, computing_with, worthwhile_threads

__all__ = ["METRICS", "finished", "play", "simulate"]


def simulate(
    experiment: Experiment,
    runs: Path | str | None = None,
    fresh: bool = False,
    threads: int | None = None,
) -> Row:
    """Run an experiment to its end and return its result (see `docs/results-format.md`).

    With `runs`, everything is kept in `runs/<digest>`: an interrupted run resumes, and a finished one is
    read, not repeated. `RunError` where that folder is damaged, or its files of data or code have changed
    since; with `fresh` the run is then started over.

    `threads` is how many CPU threads compute: if not given, those that the run began with, or one for a small
    model and as many as PyTorch is set to for a larger one.
    """
    return finished(play(experiment, runs, fresh, threads))


def finished(rows: Generator[Row, None, Row]) -> Row:
    """The result that `play` returns, once all of its rows were asked for."""
    while True:
        try:
            next(rows)
        except StopIteration as end:
            return end.value


def play(
    experiment: Experiment,
    runs: Path | str | None = None,
    fresh: bool = False,
    threads: int | None = None,
    ranks: Ranks | None = None,
) -> Generator[Row, None, Row]:
    """`simulate`, seen round by round: yields a row per round done now, returns the result.

    With `ranks`, the honest clients are spread over those processes, all of which play the same experiment;
    the first of them keeps the folder.
    """
    with opened(experiment, runs if ranks is None or ranks.leads else None, fresh) as journal:
        result = told(ranks, journal.result)
        if result is not None:
            return result
        return (yield from _rounds(replace(Federation.of(experiment), ranks=ranks), journal, threads))


def _rounds(fed: Federation, journal: Journal, threads: int | None) -> Generator[Row, None, Row]:
    start = fed.initial_state
    twin = start if fed.spec.twin and fed.spec.attack is not None else None
    state, twin, rows = told(fed.ranks, journal.begin(Saved(start, twin, [])))
    threads = threads or begun_with(rows) or (1 if fed.ranks is not None else worthwhile_threads(fed))
    with computing_with(threads):  # of every stretch: a run may go on elsewhere
        where = environment(fed.spec.device) | ({} if fed.ranks is None else {"blocks": BLOCKS})
        news = {"environment": where}
    while state.round < fed.spec.rounds and not (rows and is_ruined(fed, state, rows[-1])):
        with computing_with(threads):
            state, report = run_round(fed, state)
            if state.round == 1:
                _refuse_impossible(fed, start, report)
            twin = run_round(fed, twin, poisoned=False)[0] if twin is not None else None
            row = {"round": state.round, **_flat(fed, report), **_looks(fed, state, twin), **news}
        rows.append({name: plain(value) for name, value in row.items()})
        journal.write(Saved(state, twin, rows))
        yield rows[-1]
        news = {}
    with computing_with(threads):
        result = compose(fed, state, twin, rows)
    journal.finish(result)
    return result


def _refuse_impossible(fed: Federation, start: ServerState, report: RoundReport) -> None:
    """A rule that cannot use even the honest updates of the first round cannot do the experiment."""
    if report.skipped:
        _, honest = run_round(fed, start, poisoned=False)
        if honest.skipped and not honest.rejected:
            with origin_of(fed.spec).about("defense"):
                raise UpdateError(honest.skipped)


def _flat(fed: Federation, report: RoundReport) -> Row:
    row = report._asdict()
    diagnosis = row.pop("diagnosis")
    taken = {"round", "environment", "checksum", *row, *Evaluation._fields} & diagnosis.keys()
    if taken:
        expected = "expected a diagnosis by names that a row does not have yet"
        raise SpecError(f"{fed.spec.defense!r}: {expected}, found `{min(taken)}`")
    return {**row, **diagnosis}


def _looks(fed: Federation, state: ServerState, twin: ServerState | None) -> Row:
    """The evaluation of an evaluated round, also of the twin."""
    if not fed.evaluated(state.round):
        return {}
    look = partial(evaluate, fed.network, dataset=fed.dataset, auxiliary=fed.aimed(state))
    looks = look(params=state.params)._asdict()
    twin_looks = {} if twin is None else look(params=twin.params)._asdict()
    return {**looks, **{f"twin_{name}": value for name, value in twin_looks.items()}}

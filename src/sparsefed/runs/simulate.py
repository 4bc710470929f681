"""From the first round to the result: the loop with its metrics, resumable at any moment.

The loop is a generator of rows, one per round, so that a progress bar, a test or a notebook can
stand around it without callbacks.
"""

import math
import time
from collections.abc import Generator
from functools import partial
from pathlib import Path

from sparsefed.federation.experiment import Experiment
from sparsefed.federation.metrics import evaluate
from sparsefed.federation.round import Federation, run_round
from sparsefed.runs.record import Record, Row, Saved
from sparsefed.runs.results import METRICS, compose, outcome_of, plain

__all__ = ["METRICS", "play", "simulate"]

SECONDS_BETWEEN_CHECKPOINTS = 10.0


def simulate(experiment: Experiment, runs: Path | str | None = None) -> Row:
    """Run an experiment to its end and return its result (see `docs/results-format.md`).

    With `runs`, everything is kept in `runs/<digest>`: a run that was stopped goes on where it was,
    and one that has ended is read, not repeated.
    """
    rows = play(experiment, runs)
    while True:
        try:
            next(rows)
        except StopIteration as end:
            return end.value


def play(experiment: Experiment, runs: Path | str | None = None) -> Generator[Row, None, Row]:
    """`simulate`, seen round by round: yields a row per round done now, returns the result."""
    if runs is None:
        return (yield from _rounds(Federation.of(experiment), None))
    with Record(Path(runs), experiment).opened() as record:
        if (result := record.result) is not None:
            return result
        return (yield from _rounds(Federation.of(experiment), record))


def _rounds(fed: Federation, record: Record | None) -> Generator[Row, None, Row]:
    state, rows = fed.initial_state, []
    twin = state if fed.spec.twin and fed.spec.attack is not None else None
    if record is not None and (saved := record.load(state)) is not None:
        state, twin, rows = saved
    looks = partial(evaluate, fed.network, dataset=fed.dataset, auxiliary=fed.auxiliary)
    last_save, outcome = -math.inf, "trained"  # the first round is saved: a bad disk shows at once
    try:
        while state.round < fed.spec.rounds and outcome == "trained":
            after, report = run_round(fed, state)
            twin_after = run_round(fed, twin, poisoned=False)[0] if twin is not None else None
            row: Row = {"round": after.round, **report._asdict(), **report.diagnosis}
            del row["diagnosis"]
            if fed.evaluated(after.round):
                row |= looks(params=after.params)._asdict()
                if twin_after is not None:
                    row |= {
                        f"twin_{name}": value
                        for name, value in looks(params=twin_after.params)._asdict().items()
                    }
            outcome = outcome_of(after, report, row)
            state, twin = after, twin_after
            rows.append({name: plain(value) for name, value in row.items()})
            if record is not None and time.monotonic() - last_save > SECONDS_BETWEEN_CHECKPOINTS:
                record.save(Saved(state, twin, rows))
                last_save = time.monotonic()
            yield rows[-1]
    finally:  # also on Ctrl-C, and when the caller stops listening: nothing that was computed is lost
        if record is not None and state.round == len(rows):
            record.save(Saved(state, twin, rows))
    result = compose(fed, state, twin, rows, outcome)
    if record is not None:
        record.finish(result)
    return result

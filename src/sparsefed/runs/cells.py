"""All cells of a table, one by one or in parallel: a cell that fails does not stop the others."""

from collections.abc import Callable, Generator, Iterable
from functools import partial
from pathlib import Path

from sparsefed.core.errors import NoDataError
from sparsefed.federation.experiment import Experiment
from sparsefed.runs.cluster import on_cluster
from sparsefed.runs.jobs import Named, attempted, side_by_side
from sparsefed.runs.record import Outcome, Record, Row, refuse_stale
from sparsefed.runs.simulate import finished, play
from sparsefed.runs.tables import Cell

__all__ = ["run_cells", "run_each"]

Follow = Callable[[Cell, Generator[Row, None, Row]], Row]
"""What exhausts the rows of a cell that runs in this process, and returns its result."""


def run_cells(
    cells: Iterable[Cell],
    runs: Path,
    *,
    jobs: int = 1,
    cluster: str | None = None,
    threads: int | None = None,
    fresh: bool = False,
    follow: Follow = lambda _, rows: finished(rows),
) -> Generator[tuple[Cell, Outcome], None, None]:
    """Run every cell that has not run yet; yields each cell with its result, or with why it has none.

    Equal cells are one run, and those whose data are missing end before all others. With several `jobs`,
    each runs in a process of its own; with the address of a `cluster`, on one of its workers; else `follow`
    sees every round. `threads` is as for `simulate`. Raises `RunError` before anything runs where files have
    changed since some cells were made, naming all of them; with `fresh` those are run again.
    """
    alike: dict[str, list[Cell]] = {}
    for cell in cells:
        alike.setdefault(cell.experiment.digest(), []).append(cell)
    firsts = {digest: same[0] for digest, same in alike.items()}
    if not fresh:
        records = (Record(runs, cell.experiment) for cell in firsts.values())
        refuse_stale(record for record in records if record.is_readable)  # damage is its own cell's failure
    for digest in [*firsts]:
        if (problem := _lacks(firsts[digest].experiment, runs)) is not None:
            del firsts[digest]
            yield from ((cell, problem) for cell in alike[digest])
    queue = ((digest, cell.experiment) for digest, cell in firsts.items())

    def watch(digest: str, rows: Generator[Row, None, Row]) -> Row:
        return follow(firsts[digest], rows)

    ended = run_each(queue, runs, jobs=jobs, cluster=cluster, threads=threads, fresh=fresh, follow=watch)
    for digest, outcome in ended:
        yield from ((cell, outcome) for cell in alike[digest])


def run_each(
    experiments: Iterable[Named],
    runs: Path,
    *,
    jobs: int = 1,
    cluster: str | None = None,
    threads: int | None = None,
    fresh: bool = False,
    follow: Callable[[str, Generator[Row, None, Row]], Row] = lambda _, rows: finished(rows),
) -> Generator[tuple[str, Outcome], None, None]:
    """Run different experiments, where `run_cells` says; yields name and outcome of each when it ends."""
    if cluster is not None:
        yield from on_cluster(experiments, runs, cluster, threads, fresh)
    elif jobs > 1:
        yield from side_by_side(experiments, runs, jobs, threads, fresh)
    else:
        for name, experiment in experiments:
            yield name, attempted(partial(_followed, name, experiment, runs, fresh, threads, follow))


def _followed(  # noqa: PLR0917
    name: str,
    experiment: Experiment,
    runs: Path,
    fresh: bool,
    threads: int | None,
    follow: Callable[[str, Generator[Row, None, Row]], Row],
) -> Row:
    return follow(name, play(experiment, runs, fresh, threads))


def _lacks(experiment: Experiment, runs: Path) -> NoDataError | None:
    """Why the data of a run that has not ended cannot be read, where the files are missing."""
    if Record(runs, experiment).has_ended:
        return None
    try:
        experiment.data.source_files()
    except NoDataError as problem:
        return problem
    return None

"""Runs on the workers of a Dask cluster that is already there; docs/scale.md says why Dask.

Workers write into the same `runs` folder as everyone else, so a worker that is killed loses what its run did
since the last checkpoint: the scheduler hands the run to another worker, which resumes it.
"""

import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from sparsefed.core.errors import RunError
from sparsefed.core.places import beside, look_beside
from sparsefed.federation.experiment import Experiment
from sparsefed.runs.jobs import Named, attempted
from sparsefed.runs.record import Outcome, Row
from sparsefed.runs.simulate import play

__all__ = ["on_cluster"]

SECONDS_BETWEEN_LOOKS = 2.0
"""How often a run asks whether it should stop."""

SECONDS_TO_SAVE = 60.0
"""How long runs have to save when the caller stops."""


def on_cluster(
    experiments: Iterable[Named], runs: Path, address: str, threads: int | None = None, fresh: bool = False
) -> Generator[tuple[str, Outcome], None, None]:
    """Run different experiments, one on each thread of the cluster's workers; yields name and outcome.

    `address` is the scheduler's, such as `tcp://node1:8786`. The folder `runs`, and files that experiments
    name, must be at the same place on every worker. When the caller stops listening, all runs save and stop.
    """
    queue, busy = iter(experiments), dict[Any, str]()
    with _client(address) as client:
        from distributed import Event, wait  # pyright: ignore[reportMissingImports]

        stopping = Event(f"sparsefed-{uuid4().hex}", client)
        work = partial(_played, runs=runs.resolve(), fresh=fresh, threads=threads, file=beside())
        try:
            while True:
                _fill(busy, queue, client, partial(work, stopping=stopping.name))
                if not busy:
                    return
                with suppress(TimeoutError):  # workers may have come meanwhile
                    wait(list(busy), timeout=SECONDS_BETWEEN_LOOKS, return_when="FIRST_COMPLETED")
                for done in [future for future in busy if future.done()]:
                    yield busy.pop(done), _outcome(done)
        finally:
            stopping.set()
            with suppress(TimeoutError):
                wait(list(busy), timeout=SECONDS_TO_SAVE)


def _fill(busy: dict[Any, str], queue: Iterator[Named], client: Any, work: Any) -> None:
    """Hand out runs until every thread of the workers that are there now has one."""
    while len(busy) < max(1, sum(client.nthreads().values())):
        following = next(queue, None)
        if following is None:
            return
        name, experiment = following
        busy[client.submit(work, experiment.to_dict(), pure=False)] = name


def _outcome(done: Any) -> Outcome:
    problem = done.exception()
    if problem is None:
        return done.result()
    again = "the same command resumes it"
    return RunError(f"its workers were lost, perhaps for lack of memory: {type(problem).__name__}; {again}")


def _played(  # noqa: PLR0917
    tree: dict[str, Any], runs: Path, fresh: bool, threads: int | None, file: Path | None, stopping: str
) -> Outcome:
    """On a worker: a run from its last checkpoint to its end, or until the caller stops."""
    look_beside(file)  # before the experiment is read: it may name classes there
    return attempted(lambda: _until_told(play(Experiment(**tree), runs, fresh, threads), stopping))


def _until_told(rows: Generator[Row, None, Row], stopping: str) -> Row:
    from distributed import Event  # pyright: ignore[reportMissingImports]

    event, looked = Event(stopping), time.monotonic()
    while True:
        try:
            next(rows)
        except StopIteration as end:
            return end.value
        if time.monotonic() - looked > SECONDS_BETWEEN_LOOKS:
            looked = time.monotonic()
            if event.is_set():
                rows.close()  # saves
                raise RunError("stopped by its caller; the same command resumes it")


@contextmanager
def _client(address: str) -> Iterator[Any]:
    try:
        from distributed import Client  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise RunError("--cluster: expected Dask, found none: pip install 'sparsefed[cluster]'") from None
    try:
        client = Client(address, timeout=10)
        client.wait_for_workers(1, timeout=30)
    except (OSError, TimeoutError, ValueError) as problem:
        expected = "expected a Dask scheduler with a worker, such as tcp://host:8786"
        raise RunError(f"--cluster {address}: {expected}, found none: {problem}") from None
    with client:
        yield client

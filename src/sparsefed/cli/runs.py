"""The commands that make single runs: an experiment of yours, and the demonstration."""

from collections.abc import Generator, Iterator
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from sparsefed.cli.parts import (
    AsJson,
    Fresh,
    Runs,
    Set,
    Threads,
    keep_memory,
    resumable,
    say,
    say_json,
)

if TYPE_CHECKING:
    from sparsefed.federation.experiment import Experiment

__all__ = ["demo", "run"]

Row = dict[str, Any]


def run(
    spec: Path,
    *,
    set_: Set = [],
    runs: Runs = Path("runs"),
    fresh: Fresh = False,
    verify: Annotated[bool, Parameter(negative="")] = False,
    threads: Threads = None,
    tensorboard: Path | None = None,
    wandb: str | None = None,
    json_: AsJson = False,
) -> None:
    """Run an experiment; resume it if it was interrupted; show the result if it has finished.

    On several processes: `torchrun --nproc-per-node 4 -m sparsefed run FILE`, with the same result for any
    number of them up to 8.

    Example: `sparsefed run examples/digits.toml --set rounds=100`

    Parameters
    ----------
    spec
        The experiment, a TOML file.
    set_
        Change a key, such as `--set defense.k=5000`; may be repeated. Changes merge as in tables: another
        `type` drops the keys of the old one, and `--set 'without=["attack"]'` takes a key away.
    runs
        The folder that holds the runs, one folder each.
    fresh
        Start over a run whose files of data or code have changed, or whose folder is damaged.
    verify
        Under secure aggregation, run the real protocol for every update: the same result, more slowly.
    threads
        CPU threads; if not given, one for a small model, else all cores. A run that resumes keeps its number:
        results are bit-for-bit reproducible only with the same one.
    tensorboard
        Also log the rounds for TensorBoard, into this folder (`pip install sparsefed[tensorboard]`).
    wandb
        Also log the rounds to this project of Weights & Biases (`pip install sparsefed[wandb]`).
    json_
        Print the result as JSON.

    """
    from sparsefed.cli.looks import print_run
    from sparsefed.core.errors import named
    from sparsefed.core.origin import origin_of, read_from
    from sparsefed.core.ranks import launched
    from sparsefed.federation.experiment import read_experiment
    from sparsefed.federation.rehearsal import in_miniature, rehearse
    from sparsefed.report.progress import watched
    from sparsefed.runs.record import Record, find_record
    from sparsefed.runs.simulate import finished, play

    keep_memory()
    with launched() as ranks:
        experiment = read_experiment(spec, set_)
        if verify:
            verified = experiment.but(aggregation=experiment.aggregation.verified())
            experiment = read_from(verified, origin_of(experiment))
        if (toy := in_miniature(experiment)) is not None:
            with named(str(spec)):
                rehearse(toy)
        folder = Record(runs, experiment).folder
        with resumable(folder):
            rows = play(experiment, runs, fresh, threads, ranks)
            if ranks is not None and not ranks.leads:
                finished(rows)
                return
            rows = _tracked(rows, experiment, tensorboard, wandb)
            result = watched(spec.stem, experiment.rounds, rows)
    result = {"name": spec.stem, **result, "folder": str(folder)}
    say_json(result) if json_ else print_run(find_record(folder))


def _tracked(
    rows: Generator[Row, None, Row], experiment: "Experiment", board: Path | None, project: str | None
) -> Generator[Row, None, Row]:
    from sparsefed.report import trackers

    if board is not None:
        rows = trackers.tensorboard(rows, board, experiment)
    return rows if project is None else trackers.wandb(rows, project, experiment)


def demo(*, runs: Runs = Path("runs/demo"), json_: AsJson = False) -> None:
    """Watch one attack on three servers: no defense, clipping, and SparseFed with an anchor. Real digits.

    Example: `sparsefed demo`

    Parameters
    ----------
    runs
        The folder that holds the runs and the picture.
    json_
        Print the closing table as JSON.

    """
    from sparsefed.report import terminal
    from sparsefed.report.demo import HEADING, demo_experiments
    from sparsefed.report.plots import ACCURACIES, Curve, plot_curves
    from sparsefed.report.progress import counted, watched
    from sparsefed.runs.record import Record, find_record
    from sparsefed.runs.simulate import play

    keep_memory()

    def ended() -> "Iterator[tuple[tuple[str, Experiment], Row]]":
        for name, experiment in servers:
            with resumable(Record(runs, experiment).folder):
                yield (name, experiment), watched(f"{name:<18}", experiment.rounds, play(experiment, runs))

    results, curves, servers = [], [], list(demo_experiments())
    before = {name for name, experiment in servers if Record(runs, experiment).has_ended}
    done = counted(len(servers), ended(), itemgetter(0), shown=False, known=lambda what: what[0] in before)
    for (name, experiment), result in done:
        folder = Record(runs, experiment).folder
        if isinstance(result, dict):
            results.append(_summary(name, result, folder))
        curves.append(Curve.of(name, experiment, find_record(folder).rows()))
    picture = runs / "demo.png"
    plot_curves({"": curves}, ACCURACIES, picture, HEADING)
    if json_:
        say_json(results)
    else:
        say(terminal.results(results, "The same attack, three servers"))
        say(f"picture: {picture}\nmore:    sparsefed show {results[-1]['folder']}")


def _summary(name: str, result: Row, folder: Path) -> Row:
    seconds = sum(result[f"seconds_{part}"] for part in ("honest", "attack", "server"))
    kept = {key: result[key] for key in ("test_accuracy", "attack_accuracy", "outcome")}
    return {"name": name, **kept, "seconds": seconds, "folder": str(folder)}

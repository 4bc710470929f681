"""The commands that make runs and look at them."""

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsefed.cli.parts import (
    AsJson,
    Jobs,
    Out,
    Plot,
    Runs,
    Set,
    Threads,
    resumable,
    say,
    say_json,
    use_threads,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from sparsefed.runs.record import Outcome, Row
    from sparsefed.runs.tables import Cell, Table

__all__ = ["demo", "list_", "run", "show", "table"]


def run(
    spec: Path, *, set_: Set = [], runs: Runs = Path("runs"), threads: Threads = None, json_: AsJson = False
) -> None:
    """Run an experiment; go on where it was stopped, and show it if it has ended.

    Parameters
    ----------
    spec
        The experiment, a TOML file.
    set_
        Change a key before validation, such as `--set defense.k=5000`; may be repeated.
    runs
        The folder that holds the runs, one folder each.
    threads
        How many threads compute; a run is exact again only with the same number.
    json_
        Print the result as JSON.

    """
    from sparsefed.federation.experiment import read_experiment
    from sparsefed.report.progress import watched
    from sparsefed.runs.record import Record
    from sparsefed.runs.simulate import play

    use_threads(threads)
    experiment = read_experiment(spec, set_)
    folder = Record(runs, experiment).folder
    with resumable(folder):
        result = watched(spec.stem, experiment.rounds, play(experiment, runs))
    result = {"name": spec.stem, **result, "folder": str(folder)}
    say_json(result) if json_ else _print_run(folder)


def show(run: Path, *, json_: AsJson = False) -> None:
    """Show what is known of a run, finished or not.

    Parameters
    ----------
    run
        The run's folder.
    json_
        Print the specification, the result and the rows as JSON.

    """
    from sparsefed.runs.record import find_record

    record = find_record(run)
    if json_:
        found = {"spec": record.experiment.to_dict(), "result": record.result, "rounds": record.rows()}
        say_json(found)
    else:
        _print_run(run)


def list_(family: str = "runs", *, runs: Runs = Path("runs"), json_: AsJson = False) -> None:
    """List runs, or what a specification can name: defenses, attacks, models, data and so on.

    Parameters
    ----------
    family
        `runs`, or the name of a family.
    runs
        The folder that holds the runs.
    json_
        Print JSON.

    """
    from sparsefed.report import terminal
    from sparsefed.report.catalog import Group, listing, past_runs

    groups = [Group("", past_runs(runs))] if family == "runs" else listing(family)
    if json_:
        return say_json([row for group in groups for row in group.rows])
    for title, rows in groups:
        columns = {key: key.replace("_accuracy", " %") for key in (rows[0] if rows else {"name": ""})}
        say(terminal.table(title, columns, rows))


def table(
    spec: Path,
    *,
    runs: Runs = Path("runs"),
    out: Out = None,
    plot: Plot = None,
    jobs: Jobs = 1,
    threads: Threads = None,
    json_: AsJson = False,
) -> None:
    """Run every cell of a table that is not there yet, and print the table as Markdown.

    Parameters
    ----------
    spec
        The table, a TOML file.
    runs
        The folder that holds the runs.
    out
        Write the Markdown there as well, with the picture of `--plot` in it.
    plot
        Draw the accuracies of the first seed over the rounds: a file that ends in .png, .svg or .pdf.
    jobs
        How many runs to have side by side, each in a process of its own.
    threads
        How many threads compute in each run; with several jobs, one if not given.
    json_
        Print the lines as JSON instead, with the values of every seed.

    """
    from sparsefed.core.errors import named
    from sparsefed.core.files import readable_errors, write_atomically
    from sparsefed.runs.tables import markdown, read_table, summary

    use_threads(threads)
    plan = read_table(spec)
    with named(str(spec)):
        results = _run_cells(plan, runs, jobs, threads or 1)
    lines = summary(plan, results)
    environment = next((end["environment"] for _, end in results if isinstance(end, dict)), {})
    made = (environment, f"sparsefed table {spec.as_posix()}")
    say_json(lines) if json_ else print(markdown(plan, lines, *made))
    if out is not None:
        picture = "" if plot is None else os.path.relpath(plot, out.parent)
        with readable_errors(out):
            write_atomically(out, markdown(plan, lines, *made, picture).encode())
    if plot is not None:
        _plot_table(plot, plan, results, runs)
    for cell, end in results:
        if not isinstance(end, dict):
            with named(f"{spec}: {cell.name}"):
                raise end


def _run_cells(plan: "Table", runs: Path, jobs: int, threads: int) -> "list[tuple[Cell, Outcome]]":
    from sparsefed.report.progress import counted, watched
    from sparsefed.runs.cells import run_cells

    def follow(cell: "Cell", rows: "Generator[Row, None, Row]") -> "Row":
        title = f"{cell.row} {cell.column} seed {cell.experiment.seed}"
        return watched(title, cell.experiment.rounds, rows)

    cells = list(plan.cells())
    with resumable(runs), closing(run_cells(cells, runs, jobs=jobs, threads=threads, follow=follow)) as ended:
        return list(counted(len(cells), ended) if jobs > 1 else ended)


def _plot_table(path: Path, plan: "Table", results: "list[tuple[Cell, Outcome]]", runs: Path) -> None:
    from sparsefed.report.plots import Curve, plot_curves
    from sparsefed.runs.record import Record

    seed = plan.seeds[0]
    columns: dict[str, list[Curve]] = {column: [] for column in plan.columns}
    for cell, end in results:
        if cell.experiment.seed == seed and isinstance(end, dict):
            rows = Record(runs, cell.experiment).rows()
            columns[cell.column].append(Curve(cell.row, type(cell.experiment.defense).__name__, rows))
    plot_curves(columns, plan.metrics, path, f"{plan.title} (seed {seed})")


def demo(*, runs: Runs = Path("runs/demo"), json_: AsJson = False) -> None:
    """Watch one attack on three servers: no defense, clipping, and SparseFed with an anchor. Real digits.

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
    from sparsefed.report.progress import watched
    from sparsefed.runs.record import Record, find_record
    from sparsefed.runs.simulate import play

    use_threads(1)  # so small a model gains nothing from a second thread, and loses much on a busy machine
    results, curves = [], []
    for name, experiment in demo_experiments():
        folder = Record(runs, experiment).folder
        with resumable(folder):
            result = watched(f"{name:<18}", experiment.rounds, play(experiment, runs))
        results.append(_summary(name, result, folder))
        curves.append(Curve(name, type(experiment.defense).__name__, find_record(folder).rows()))
    picture = runs / "demo.png"
    plot_curves({"": curves}, ACCURACIES, picture, HEADING)
    if json_:
        say_json(results)
    else:
        say(terminal.results(results, "The same attack, three servers"))
        say(f"picture: {picture}\nmore:    sparsefed show {results[-1]['folder']}")


def _summary(name: str, result: dict[str, Any], folder: Path) -> dict[str, Any]:
    seconds = sum(result[f"seconds_{part}"] for part in ("honest", "attack", "server"))
    kept = {key: result[key] for key in ("test_accuracy", "attack_accuracy", "outcome")}
    return {"name": name, **kept, "seconds": seconds, "folder": str(folder)}


def _print_run(folder: Path) -> None:
    from sparsefed.report import terminal
    from sparsefed.runs.record import find_record

    record = find_record(folder)
    say(terminal.evaluations(record.rows()))
    say(terminal.details(record.experiment, record.result, record.rows()))
    say(f"folder: {folder}")

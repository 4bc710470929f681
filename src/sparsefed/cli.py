"""The command line: parse, call, print."""

import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console

from sparsefed import __version__, screen
from sparsefed.errors import SparseFedError

__all__ = ["app", "main"]

app = App("sparsefed", help="Federated learning that cannot be poisoned.", version=__version__)
data_app = App("data", help="Data sets: what is here, and how to get the rest.")
app.command(data_app)

Set = Annotated[list[str], Parameter("--set", negative="")]
Runs = Annotated[Path, Parameter("--runs")]
AsJson = Annotated[bool, Parameter("--json", negative="")]


@app.command
def run(spec: Path, *, set_: Set = [], runs: Runs = Path("runs"), json_: AsJson = False) -> None:  # noqa: B006
    """Run an experiment; go on where it was stopped, and show it if it has ended.

    Parameters
    ----------
    spec
        The experiment, a TOML file.
    set_
        Change a key before validation, such as `--set defense.k=5000`; may be repeated.
    runs
        The folder that holds the runs, one folder each.
    json_
        Print the result as JSON.

    """
    from sparsefed.experiment import read_experiment
    from sparsefed.record import Record
    from sparsefed.simulate import play

    experiment = read_experiment(spec, set_)
    folder = Record(runs, experiment).folder
    with _resumable(folder):
        result = screen.watched(spec.stem, experiment.rounds, play(experiment, runs))
    result = {"name": spec.stem, **result, "folder": str(folder)}
    _print_json(result) if json_ else _print_run(folder)


@app.command
def show(run: Path, *, json_: AsJson = False) -> None:
    """Show what is known of a run, finished or not.

    Parameters
    ----------
    run
        The run's folder.
    json_
        Print the specification, the result and the rows as JSON.

    """
    from sparsefed.record import find_record

    record = find_record(run)
    if json_:
        found = {"spec": record.experiment.to_dict(), "result": record.result, "rounds": record.rows()}
        _print_json(found)
    else:
        _print_run(run)


@app.command(name="list")
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
    from sparsefed.catalog import members, past_runs

    rows = past_runs(runs) if family == "runs" else members(family)
    columns = {key: key.replace("_", " ") for key in (rows[0] if rows else {"name": ""})}
    _print_json(rows) if json_ else _print(screen.table("", columns, rows))


@data_app.default
def data(*, json_: AsJson = False) -> None:
    """List the data sets, and where each was found or how to get it."""
    from sparsefed.data import available

    rows: list[dict[str, Any]] = [
        dict(zip(("name", "what", "where"), found, strict=True)) for found in available()
    ]
    columns = {key: key for key in ("name", "what", "where")}
    _print_json(rows) if json_ else _print(screen.table("", columns, rows))


@data_app.command
def fetch(name: str, *, folder: Path | None = None) -> None:
    """Download a data set, with checksums.

    Parameters
    ----------
    name
        The data set, as `sparsefed data` lists it.
    folder
        Where to put it; the cache folder of this user if not given.

    """
    from sparsefed.data import fetch as download

    _print(f"{name} is in {download(name, folder)}")


@app.command
def table(spec: Path, *, runs: Runs = Path("runs"), out: Path | None = None, json_: AsJson = False) -> None:
    """Run every cell of a table that is not there yet, and print the table as Markdown.

    Parameters
    ----------
    spec
        The table, a TOML file.
    runs
        The folder that holds the runs.
    out
        Write the Markdown there as well.
    json_
        Print the lines as JSON instead.

    """
    from sparsefed.files import readable_errors, write_atomically
    from sparsefed.record import Record
    from sparsefed.simulate import play
    from sparsefed.tables import markdown, read_table, summary

    plan = read_table(spec)
    results = []
    for cell in plan.cells():
        experiment = cell.experiment
        name = f"{cell.row} {cell.column} seed {experiment.seed}"
        with _resumable(Record(runs, experiment).folder):
            results.append((cell, screen.watched(name, experiment.rounds, play(experiment, runs))))
    lines = summary(plan, results)
    text = markdown(plan, lines, results[-1][1]["environment"], f"sparsefed table {spec.as_posix()}")
    if out is not None:
        with readable_errors(out):
            write_atomically(out, text.encode())
    _print_json(lines) if json_ else print(text)


@app.command
def demo(*, runs: Runs = Path("runs/demo"), json_: AsJson = False) -> None:
    """Watch one attack meet no defense, clipping and SparseFed, on real digits.

    Parameters
    ----------
    runs
        The folder that holds the runs and the picture.
    json_
        Print the closing table as JSON.

    """
    from sparsefed.demo import demo_experiments
    from sparsefed.plots import plot_accuracies
    from sparsefed.record import Record, find_record
    from sparsefed.simulate import play

    results, curves = [], {}
    for name, experiment in demo_experiments():
        folder = Record(runs, experiment).folder
        with _resumable(folder):
            result = screen.watched(f"{name:<11}", experiment.rounds, play(experiment, runs))
        results.append(_summary(name, result, folder))
        curves[name] = find_record(folder).rows()
    picture = runs / "demo.png"
    plot_accuracies(curves, picture, "2 % of 2,000 clients collude to get 40 handwritten digits read wrong")
    if json_:
        _print_json(results)
    else:
        _print(screen.results(results, "The same attack, three servers"))
        _print(f"picture: {picture}\nmore:    sparsefed show {results[-1]['folder']}")


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line; what the caller can mend is one line on the error output and exit code 2."""
    sys.path.insert(0, str(Path.cwd()))  # `type = "my_module:MyRule"` of the folder one stands in
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    app.suppress_keyboard_interrupt = False
    try:
        app(list(sys.argv[1:] if words is None else words), exit_on_error=False, print_error=False)
    except (SparseFedError, CycloptsError) as problem:
        _fail(" ".join(str(problem).split()), 2)
    except KeyboardInterrupt as stop:
        _fail(str(stop) or "stopped", 130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has gone: nothing to say, and nobody to say it to
        sys.exit(1)


class _resumable:  # noqa: N801
    """Turns Ctrl-C into a line that says how to go on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type | None, problem: BaseException | None, trace: Any) -> None:
        if isinstance(problem, KeyboardInterrupt):
            raise KeyboardInterrupt(f"stopped; saved in {self.folder}: the same command goes on from there")


def _summary(name: str, result: dict[str, Any], folder: Path) -> dict[str, Any]:
    seconds = sum(result[f"seconds_{part}"] for part in ("honest", "attack", "server"))
    kept = {key: result[key] for key in ("test_accuracy", "attack_accuracy", "outcome")}
    return {"name": name, **kept, "seconds": seconds, "folder": str(folder)}


def _print_run(folder: Path) -> None:
    from sparsefed.record import find_record

    record = find_record(folder)
    _print(screen.evaluations(record.rows()))
    _print(screen.details(record.experiment, record.result, record.rows()))
    _print(f"folder: {folder}")


def _print(what: Any) -> None:
    console = Console()
    console.print(what, soft_wrap=isinstance(what, str), highlight=False)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1))


def _fail(line: str, code: int) -> None:
    print(f"sparsefed: {line}", file=sys.stderr)
    sys.exit(code)

"""The commands that look at runs, and at what there is to choose from."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sparsefed.cli.parts import AsCsv, AsJson, Plot, Runs, news, say, say_csv, say_json
from sparsefed.core.errors import SparseFedError

if TYPE_CHECKING:
    from sparsefed.runs.record import Record

__all__ = ["compare", "list_", "print_run", "show"]

KEPT_APART = {"demo", "frontier", "votes"}
"""Where commands keep what is theirs in a folder of runs."""


def show(
    run: Path, *, runs: Runs = Path("runs"), plot: Plot = None, csv: AsCsv = False, json_: AsJson = False
) -> None:
    """Show a run's settings and results, finished or not.

    Example: `sparsefed show 849bd17f --plot run.png`

    Parameters
    ----------
    run
        The run's folder, or the beginning of its name in the folder of runs.
    runs
        The folder that holds the runs.
    plot
        Draw the accuracies over the rounds: a file that ends in .png, .svg or .pdf.
    csv
        Print a line per round as comma-separated values.
    json_
        Print the specification, the result and the rows as JSON.

    """
    from sparsefed.runs.record import find_record

    record = find_record(run, runs)
    _say_stale([record])
    if json_:
        found = {"spec": record.experiment.to_dict(), "result": record.result, "rounds": record.rows()}
        say_json(found)
    elif csv:
        say_csv(record.rows())
    else:
        print_run(record)
    if plot is not None:
        _plot([record], plot, str(record.folder))


def compare(
    runs_: "list[Path]",
    /,
    *,
    runs: Runs = Path("runs"),
    plot: Plot = None,
    csv: AsCsv = False,
    json_: AsJson = False,
) -> None:
    """Compare runs: the settings in which they differ, and what came out.

    Example: `sparsefed compare 849bd17f d2a1 --plot two.png`

    Parameters
    ----------
    runs_
        The runs' folders, or the beginnings of their names in the folder of runs. Of `runs/*`, what is no run
        is left out.
    runs
        The folder that holds the runs.
    plot
        Draw the accuracies of all on one picture: a file that ends in .png, .svg or .pdf.
    csv
        Print a line per run as comma-separated values.
    json_
        Print a line per run as JSON.

    """
    from sparsefed.report import terminal
    from sparsefed.report.history import differences, outcome
    from sparsefed.runs.record import find_record

    others = [run for run in runs_ if run.exists() and not (run / "spec.json").is_file()]
    chosen = [run for run in runs_ if run not in others]
    if (strange := [other for other in others if other.name not in KEPT_APART]) and chosen:
        news(f"left out, not runs: {', '.join(map(str, strange))}")
    records = [find_record(run, runs) for run in chosen or runs_]
    _say_stale(records)
    settings = differences([record.experiment.to_dict() for record in records])
    rows = [
        {"run": record.folder.name[:8], **differing, **outcome(record)}
        for record, differing in zip(records, settings, strict=True)
    ]
    if json_:
        say_json(rows)
    elif csv:
        say_csv(rows)
    else:
        say(terminal.beside(rows))
    if plot is not None:
        _plot(records, plot, "runs compared")


def list_(
    family: str = "runs", *, runs: Runs = Path("runs"), csv: AsCsv = False, json_: AsJson = False
) -> None:
    """List runs, or what a specification can name: defenses, attacks, models, data, or one part's keys.

    Examples: `sparsefed list`, `sparsefed list defenses`, `sparsefed list SparseFed`

    Parameters
    ----------
    family
        `runs`, the name of a family or of a member, `experiment` or `table`.
    runs
        The folder that holds the runs.
    csv
        Print comma-separated values.
    json_
        Print JSON.

    """
    if family == "runs":
        return _list_runs(runs, csv, json_)
    import sparsefed.certify  # noqa: F401 -- its families can be listed too
    from sparsefed.report import terminal
    from sparsefed.report.catalog import listing

    groups = listing(family)
    rows = [row for group in groups for row in group.rows]
    if json_:
        say_json(rows)
    elif csv:
        say_csv(rows)
    else:
        for title, lines in groups:
            say(terminal.table(title, {key: key for key in lines[0]}, lines))


def _list_runs(runs: Path, csv: bool, json_: bool) -> None:
    from sparsefed.report import terminal
    from sparsefed.report.history import elsewhere, past_runs

    rows = past_runs(runs)
    if json_:
        return say_json(rows)
    if csv:
        return say_csv(rows)
    others = elsewhere(runs)
    if not rows and not others:
        return say(f"no runs in {runs} yet; `sparsefed run FILE` makes one")
    if rows:
        say(terminal.runs(rows))
    for folder, count in others.items():
        say(f"{count} more in {folder}: `sparsefed list --runs {folder}`")


def _say_stale(records: "list[Record]") -> None:
    """Tell of each run whose files of data or code have changed since."""
    for record in records:
        with suppress(SparseFedError):  # the data may be elsewhere by now
            if files := record.stale():
                news(f"{record.folder.name[:8]}: made with other files: {', '.join(files)} changed since")


def print_run(record: "Record") -> None:
    """The evaluations, the settings and the results of a run."""
    from sparsefed.report import terminal
    from sparsefed.report.details import details

    say(terminal.evaluations(record.rows()))
    say(details(record.experiment, record.result, record.rows()))
    say(f"folder: {record.folder}")


def _plot(records: "list[Record]", path: Path, heading: str) -> None:
    from sparsefed.report.history import differences
    from sparsefed.report.plots import ACCURACIES, Curve, plot_curves

    names = differences([record.experiment.to_dict() for record in records])
    curves = [
        Curve.of(
            f"{record.folder.name[:8]} {', '.join(f'{k} {v}' for k, v in differing.items())}".strip(),
            record.experiment,
            record.rows(),
        )
        for record, differing in zip(records, names, strict=True)
    ]
    plot_curves({"": curves}, ACCURACIES, path, heading)
    news(f"picture: {path}")

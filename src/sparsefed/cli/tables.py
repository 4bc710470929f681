"""The command that makes tables."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from sparsefed.cli.items import AtScale, is_file, table_of
from sparsefed.cli.parts import (
    AsCsv,
    AsJson,
    Cluster,
    Fresh,
    Jobs,
    Out,
    Plot,
    Runs,
    Set,
    Threads,
    as_typed,
    beside,
    ending,
    keep_memory,
    news,
    resumable,
    say_csv,
    say_json,
    write,
)
from sparsefed.core.errors import SpecError
from sparsefed.core.text import amount

if TYPE_CHECKING:
    from collections.abc import Generator

    from sparsefed.runs.record import Outcome, Row
    from sparsefed.runs.tables import Cell, Table

__all__ = ["FIGURE", "report", "run_all", "table"]

FIGURE = """Run what a figure of the paper shows, and print the numbers behind it as Markdown.

Example: `sparsefed figure 5 --scale smoke --plot figure5.png`
"""


def table(
    what: str,
    *,
    scale: AtScale = None,
    set_: Set = [],
    only: Annotated[list[str], Parameter(negative="", show_default=False)] = [],
    runs: Runs = Path("runs"),
    out: Out = None,
    plot: Plot = None,
    jobs: Jobs = 1,
    cluster: Cluster = None,
    fresh: Fresh = False,
    threads: Threads = None,
    csv: AsCsv = False,
    json_: AsJson = False,
    kind: Annotated[str, Parameter(parse=False)] = "table",
) -> None:
    """Run every cell of a table that has not run yet, and print the table as Markdown.

    A table is a TOML file of yours, or one of the paper's by its number. An interrupted table resumes; a
    finished one is printed immediately.

    Example: `sparsefed table examples/tables/mnist.toml --jobs 2 --out mnist.md --plot mnist.png`

    Example: `sparsefed table 2 --scale smoke`

    Parameters
    ----------
    what
        A TOML file, or a number in the paper, as `sparsefed paper` lists them.
    scale
        The size of a table of the paper: `smoke` takes seconds, `small` two cores, `paper` a GPU.
    set_
        Change a key in every cell, such as `--set rounds=100`; may be repeated.
    only
        Run only cells whose row, column or seed has these words, such as `--only "seed 0"`; may be repeated.
        Others are shown as far as they have run.
    runs
        The folder that holds the runs.
    out
        Write the Markdown there as well, with the picture of `--plot` in it.
    plot
        Draw the table's metrics, of the first seed, as far as rounds have them: a file that ends in .png,
        .svg or .pdf.
    jobs
        How many runs to execute in parallel, each in a process of its own.
    cluster
        The address of a Dask scheduler whose workers execute the runs, in place of `--jobs`.
    fresh
        Start over the runs whose files of data or code have changed, or whose folders are damaged.
    threads
        CPU threads per run; if not given, one for a small model, else as many cores as there are per job. A
        run that resumes keeps its number.
    csv
        Print a line per run as comma-separated values instead.
    json_
        Print the lines as JSON instead, with the values and the run of every seed.
    kind
        What `what` is a number of: `table` or `figure`.

    """
    from sparsefed.core.errors import named
    from sparsefed.report.markdown import table_page
    from sparsefed.runs.tables import summary

    keep_memory()
    plan = table_of(kind, what, scale, set_)
    with named(what):
        wanted, others = _parted(list(plan.cells()), only)
        ran = run_all(wanted, runs, jobs, threads, fresh, cluster)
        results = ran + _ended(others, runs)
    lines = summary(plan, results)
    made = {(c.row, c.column, c.experiment.seed): str(runs / c.experiment.digest()) for c, _ in results}
    for line in lines:
        line["run"] = [made.get((line["row"], line["column"], seed)) for seed in plan.seeds]
    environment = next((end["environment"] for _, end in results if isinstance(end, dict)), {})
    if json_:
        say_json(lines)
    elif csv:
        say_csv(_each_run(plan, results, runs))
    else:
        print(table_page(plan, lines, environment, as_typed()))
    if out is not None:
        write(out, table_page(plan, lines, environment, as_typed(), beside(out, plot)))
    if plot is not None:
        _plot_table(plot, plan, results, runs)
        news(f"picture: {plot}")
    for cell, end in ran:
        if not isinstance(end, dict) and not plan.excuses(end):
            with named(f"{what}: {cell.name}"):
                raise end


def report(
    what: str,
    *,
    scale: AtScale = None,
    set_: Set = [],
    runs: Runs = Path("runs"),
    out: Annotated[Path, Parameter("--out", validator=ending(".html", ".md", ".csv", ".tex"))] = Path(
        "report.html"
    ),
) -> None:
    """Write a report of a table or of a folder of runs, without running anything.

    The page opens from disk: the numbers to sort and filter, the publication's beside them, and behind each
    line its curves and its experiment. What has not run is shown as such.

    Example: `sparsefed report examples/tables/mnist.toml --out mnist.html`

    Parameters
    ----------
    what
        A table's TOML file, a folder of runs, or a table of the paper by its number (a figure: `"figure 5"`).
    scale
        The scale of a table or figure of the paper.
    set_
        Change a key in every cell of the table, as `sparsefed table --set` does; may be repeated.
    runs
        The folder that holds the table's runs.
    out
        Where to write it: .html for the page, .md, .csv, or .tex for a LaTeX table (booktabs).

    """
    from sparsefed.report.dossier import as_page
    from sparsefed.report.sheet import as_csv, as_latex, as_markdown, of_folder, of_table

    kind, _, number = ("table", "", what) if is_file(what) else what.rpartition(" ")
    folder = Path(what).is_dir()
    if folder and set_:
        raise SpecError(f"--set: expected a table to change, found {what}, a folder of runs")
    plan = None if folder else table_of(kind or "table", number, scale, set_)
    sheet = of_folder(Path(what)) if plan is None else of_table(plan, runs)
    if out.suffix == ".html":
        text = as_page(sheet, as_typed())
    else:
        text = {".md": as_markdown, ".csv": as_csv, ".tex": as_latex}[out.suffix](sheet)
    write(out, text)
    done = sum(bool(entry.n) for entry in sheet.entries)
    print(f"{out}: {done} of {amount(len(sheet.entries), 'line')} have run")


def run_all(  # noqa: PLR0917
    cells: "list[Cell]",
    runs: Path,
    jobs: int,
    threads: int | None,
    fresh: bool,
    cluster: str | None = None,
) -> "list[tuple[Cell, Outcome]]":
    """Run what has not run yet, with a line of progress; results are in the order of the cells."""
    from sparsefed.report.progress import counted, watched
    from sparsefed.runs.cells import run_cells
    from sparsefed.runs.record import Record

    def follow(cell: "Cell", rows: "Generator[Row, None, Row]") -> "Row":
        brief = ", ".join(part for part in (cell.row, cell.column, f"seed {cell.experiment.seed}") if part)
        return watched(cell.name, cell.experiment.rounds, rows, brief)

    before = {cell.name for cell in cells if Record(runs, cell.experiment).has_ended}
    ended = run_cells(cells, runs, jobs=jobs, cluster=cluster, threads=threads, fresh=fresh, follow=follow)
    with resumable(runs), closing(ended):
        names, known = (lambda cell: cell.name), (lambda cell: cell.name in before)
        done = list(counted(len(cells), ended, names, shown=jobs > 1 or cluster is not None, known=known))
    found = {cell.name: end for cell, end in done}
    return [(cell, found[cell.name]) for cell in cells]  # whichever ended first


def _parted(cells: "list[Cell]", only: list[str]) -> "tuple[list[Cell], list[Cell]]":
    """The cells whose names have all of the words, and the others; raises `SpecError` where none has."""
    wanted = [cell for cell in cells if all(words in cell.name for words in only)]
    if not wanted:
        raise SpecError(f"--only: expected words of a cell such as {cells[0].name}, found {', '.join(only)}")
    names = {cell.name for cell in wanted}
    return wanted, [cell for cell in cells if cell.name not in names]


def _ended(cells: "list[Cell]", runs: Path) -> "list[tuple[Cell, Outcome]]":
    from sparsefed.runs.record import Record, ended

    found = ((cell, ended(Record(runs, cell.experiment))) for cell in cells)
    return [(cell, result) for cell, result in found if result is not None]


def _each_run(plan: "Table", results: "list[tuple[Cell, Outcome]]", runs: Path) -> "list[Row]":
    rows = []
    for cell, end in results:
        seed, found = cell.experiment.seed, end if isinstance(end, dict) else {"outcome": f"failed: {end}"}
        row = {"row": cell.row, "column": cell.column, "seed": seed}
        row |= {key: found.get(key) for key in (*plan.metrics, "outcome")}
        rows.append({**row, "run": str(runs / cell.experiment.digest())})
    return rows


def _plot_table(path: Path, plan: "Table", results: "list[tuple[Cell, Outcome]]", runs: Path) -> None:
    from sparsefed.paper import Scaled, draw
    from sparsefed.report.plots import Curve, plot_curves
    from sparsefed.runs.record import Record

    if isinstance(plan, Scaled) and plan.over != "round":
        return draw(plan, results, path)
    seed = plan.seeds[0]
    columns: dict[str, list[Curve]] = {column: [] for column in plan.columns}
    for cell, end in results:
        if cell.experiment.seed == seed and isinstance(end, dict):
            rows = Record(runs, cell.experiment).rows()
            columns[cell.column].append(Curve.of(cell.row, cell.experiment, rows))
    plot_curves(columns, plan.metrics, path, f"{plan.title} (seed {seed})")

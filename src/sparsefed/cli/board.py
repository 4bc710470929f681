"""The command that runs every defense against every attack."""

from pathlib import Path

from sparsefed.cli.parts import (
    AsJson,
    Fresh,
    Jobs,
    Out,
    Plot,
    Runs,
    Set,
    Shares,
    Threads,
    as_typed,
    beside,
    keep_memory,
    say_json,
    write,
)

__all__ = ["leaderboard"]


def leaderboard(
    spec: Path,
    *,
    points: Path | None = None,
    compromised: Shares = [],
    set_: Set = [],
    runs: Runs = Path("runs"),
    out: Out = None,
    plot: Plot = None,
    jobs: Jobs = 1,
    fresh: Fresh = False,
    threads: Threads = None,
    json_: AsJson = False,
) -> None:
    """Run every defense, at settings that stand, against every attack; rank them by their worst case.

    Goals are never mixed, and each share of compromised clients has its own ranking. All runs are kept: an
    interrupted leaderboard resumes, and a run that a table or frontier has made is not made again.

    Example: `sparsefed leaderboard examples/leaderboard_digits.toml --out board.md --plot board.png`

    Parameters
    ----------
    spec
        An experiment, compared with the usual defenses; or a leaderboard's own TOML file, with `[base]`.
    points
        What `sparsefed frontier --json` printed: each defense gets its point for the goal and the share.
    compromised
        The share of the clients that is compromised, between 0 and 1, if not as in the file; may be repeated.
    set_
        Change a key of the experiment before validation, such as `--set rounds=100`; may be repeated.
    runs
        The folder that holds the runs.
    out
        Write the page there, as Markdown.
    plot
        Draw the heat map: a file that ends in .png, .svg or .pdf.
    jobs
        How many runs to execute in parallel, each in a process of its own.
    fresh
        Start over the runs whose files of data or code have changed, or whose folders are damaged.
    threads
        CPU threads per run; as for `sparsefed table` if not given.
    json_
        Print the standings as JSON.

    """
    from sparsefed.cli.tables import run_all
    from sparsefed.frontier.leaderboard import Leaderboard, entries, run_before, standings
    from sparsefed.frontier.leaderboard_page import heat_map, leaderboard_page, rows
    from sparsefed.frontier.plan import read_plan
    from sparsefed.frontier.printed import read_points

    keep_memory()
    shares = {"compromised": compromised} if compromised else {}
    board = read_plan(spec, tuple(set_), Leaderboard, **shares)
    known = [] if points is None else read_points(points)
    board = board.settled(known)
    asked = list(entries(board, known))
    cells = [entry.cell for entry in asked]
    found = run_before(cells, runs)
    left = [cell for cell in cells if cell.name not in found]
    found |= {cell.name: end for cell, end in run_all(left, runs, jobs, threads, fresh)}
    done = [(entry, found[entry.cell.name]) for entry in asked]
    ranked = standings(board, done)
    if json_:
        say_json(rows(ranked))
    else:
        print(leaderboard_page(board, ranked, as_typed()))
    if out is not None:
        write(out, leaderboard_page(board, ranked, as_typed(), beside(out, plot)))
    if plot is not None:
        heat_map(ranked, plot)

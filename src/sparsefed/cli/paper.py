"""The command about the paper as a whole."""

from pathlib import Path

from sparsefed.cli.parts import AsJson, Runs, say, say_json

__all__ = ["paper"]


def paper(*, runs: Runs = Path("runs"), json_: AsJson = False) -> None:
    """List the paper's tables and figures, and how much of each has been run at each scale.

    Example: `sparsefed paper`

    Parameters
    ----------
    runs
        The folder that holds the runs.
    json_
        Print the list as JSON.

    """
    from sparsefed.paper.progress import overview
    from sparsefed.report import terminal

    rows = overview(runs)
    if json_:
        return say_json(rows)
    say(terminal.table("", {key: key for key in rows[0]}, rows))

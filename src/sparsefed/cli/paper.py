"""The command about the paper as a whole."""

from pathlib import Path
from typing import Any

from sparsefed.cli.parts import AsJson, Runs, say, say_json

__all__ = ["paper"]


def paper(*, runs: Runs = Path("runs"), json_: AsJson = False) -> None:
    """List the paper's tables and figures: how much has been run at each scale, and what was found.

    Example: `sparsefed paper`

    Parameters
    ----------
    runs
        The folder that holds the runs.
    json_
        Print the list as JSON, with the remarks on the paper's numbers.

    """
    from sparsefed.paper import SCALES, read_scale
    from sparsefed.paper.progress import overview

    rows = overview(runs)
    if json_:
        return say_json(rows)
    for row in rows:
        say(f"{row['item']}: {row['title'].partition(': ')[2]}")
        for scale in SCALES:
            if row[scale]["ended"]:
                say(f"    {scale}: {row[scale]['ended']} of {row[scale]['runs']} runs")
                for line in _told(row[scale]) if read_scale(scale).evidence else []:
                    say(f"        {line}")
    say("\nsparsefed table 2 --scale smoke, sparsefed figure 5 --scale smoke; other scales: small, paper")


def _told(state: dict[str, Any]) -> list[str]:
    """The numbers beside the paper's, for the first metric of which there are any."""
    return [
        f"{one['row']}{', ' + one['column'] if one['column'] else ''}: {one['found']} (paper {one['paper']})"
        for one in state["found"]
        if one["metric"] == state["found"][0]["metric"]
    ]

"""How much of the paper has been run."""

from pathlib import Path

from sparsefed.paper.items import items
from sparsefed.paper.scales import SCALES
from sparsefed.runs.record import Record, Row

__all__ = ["overview"]


def overview(runs: Path) -> list[Row]:
    """A line per item: what it is, and at each scale how many of its runs have ended."""
    lines = []
    for name, item in items().items():
        line: Row = {"item": str(name), "what": item.title}
        for scale in SCALES:
            experiments = {cell.experiment.digest(): cell.experiment for cell in item.at(scale).cells()}
            done = sum(Record(runs, experiment).has_ended for experiment in experiments.values())
            line[scale] = f"{done} of {len(experiments)}"
        lines.append(line)
    return lines

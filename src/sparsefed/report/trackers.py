"""Runs seen in other people's dashboards, through the rows that `sparsefed.play` yields.

    rows = tensorboard(sparsefed.play(experiment, "runs"), "boards/mine", experiment)

Each takes rows and yields them again, so that they can be put around each other and around nothing. What a
row says in numbers is logged under its key, at its round; the experiment is logged once.
"""

import importlib
import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from sparsefed.core.errors import RunError
from sparsefed.federation.experiment import Experiment
from sparsefed.runs.record import Row

__all__ = ["tensorboard", "wandb"]

Rows = Generator[Row, None, Row]


def tensorboard(rows: Rows, folder: Path | str, experiment: Experiment) -> Rows:
    """Log rows for TensorBoard into `folder` (needs `pip install sparsefed[tensorboard]`).

    A run that resumes goes on in the same folder.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as problem:
        raise _missing("tensorboard", problem) from None
    with SummaryWriter(str(folder)) as writer:
        writer.add_text("experiment", f"```json\n{json.dumps(experiment.to_dict(), indent=1)}\n```")

        def log(numbers: dict[str, float], round: int) -> None:
            for key, value in numbers.items():
                writer.add_scalar(key, value, round)

        return (yield from _logged(rows, log))


def wandb(rows: Rows, project: str, experiment: Experiment, **options: Any) -> Rows:
    """Log rows to Weights & Biases (needs `pip install sparsefed[wandb]`); `options` are `wandb.init`'s own.

    A run that resumes goes on under the same id, the experiment's digest.
    """
    try:
        library = importlib.import_module("wandb")
    except ImportError as problem:
        raise _missing("wandb", problem) from None
    given = {"id": experiment.digest(), "resume": "allow", "config": experiment.to_dict(), **options}
    with library.init(project=project, **given) as run:
        return (yield from _logged(rows, lambda numbers, round: run.log(numbers, step=round)))


def _logged(rows: Rows, log: Callable[[dict[str, float], int], object]) -> Rows:
    while True:
        try:
            row = next(rows)
        except StopIteration as end:
            return end.value
        numbers = {key: float(value) for key, value in row.items() if isinstance(value, int | float)}
        log({key: value for key, value in numbers.items() if key != "round"}, row["round"])
        yield row


def _missing(name: str, problem: ImportError) -> RunError:
    return RunError(f"{name} cannot be imported ({problem}); `pip install sparsefed[{name}]` brings it")

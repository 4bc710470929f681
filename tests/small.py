"""Small experiments on the embedded digits that the tests share."""

from collections.abc import Generator
from typing import Any, TypeVar

import sparsefed as sf
from sparsefed.data import Digits, OneClass
from sparsefed.models import MLP

T = TypeVar("T")


def attack(**changes: Any) -> sf.Attack:
    parts: dict[str, Any] = {
        "objective": sf.Targeted(points=20),
        "presence": sf.Pool(fraction=0.1),
        "method": sf.PGD(epochs=2, batch_size=10),
    }
    return sf.Attack(**{**parts, **changes})


def experiment(**changes: Any) -> sf.Experiment:
    parts: dict[str, Any] = {
        "seed": 3,
        "rounds": 20,
        "cohort": 10,
        "data": Digits(),
        "partition": OneClass(clients=100),
        "model": MLP(hidden=(16,)),
        "schedule": sf.Triangular(peak=0.2),
        "clip": sf.FixedClip(norm=1.0),
        "defense": sf.SparseFed(k=50, momentum=0.9),
        "evaluate_every": 5,
    }
    return sf.Experiment(**{**parts, **changes})


def on(experiment: sf.Experiment, device: str) -> sf.Experiment:
    """The experiment on a device, which may be one that no file can name."""
    return experiment.model_copy(update={"device": device})


def finished(steps: Generator[Any, None, T]) -> tuple[list[str], T]:
    """What a search or an audit said on its way, and what it found."""
    said = []
    while True:
        try:
            said.append(next(steps).what)
        except StopIteration as end:
            return said, end.value

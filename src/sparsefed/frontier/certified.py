"""What no attack can change: the strongest certificate that covers an experiment."""

from collections.abc import Sequence
from typing import NamedTuple

from sparsefed.certify import Study
from sparsefed.certify.along import VOTES
from sparsefed.core.errors import SpecError
from sparsefed.federation.experiment import Experiment
from sparsefed.models import Linear

__all__ = ["Certified", "certified"]


class Certified(NamedTuple):
    """Certified accuracy by the number of compromised clients."""

    accuracy: dict[int, float]
    """Percent of the test points that no attack by so many clients can change; may be empty."""
    reason: str = ""
    """Why there is none."""


def certified(experiment: Experiment, numbers: Sequence[int]) -> Certified:
    """The certificate of an experiment against each number of compromised clients, until nothing is left."""
    if not isinstance(experiment.model, Linear):
        return Certified({}, "the bound on an update's norm certifies softmax regression (`Linear`) only")
    try:
        study = Study.of(experiment.but(attack=None))
    except SpecError as problem:
        return Certified({}, str(problem).removeprefix("certificate: ").removesuffix(VOTES))
    found: dict[int, float] = {}
    for number in numbers:
        found[number] = study.against(number).certified or 0.0
        if found[number] == 0:
            break
    return Certified(found)

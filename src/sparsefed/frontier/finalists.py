"""What a search hands to the report: for every allowed loss, the settings that hold most."""

from typing import Any, NamedTuple

from sparsefed.frontier.points import Measured, pareto
from sparsefed.frontier.study import Study

__all__ = ["LOSSES", "Finalist", "best_of", "finalists_of"]

LOSSES = (2.0, 5.0, 1.0, 0.5)
"""Points of test accuracy below the best unattacked run that a defense may cost, the most telling first."""


class Finalist(NamedTuple):
    """Settings that the search found best, for one allowed loss or in balance."""

    study: Study
    rank: int
    settings: dict
    searched: Measured


Found = tuple[dict[str, Any], Measured]
"""Settings, and what a search measured of them."""


def finalists_of(study: Study, best: float) -> list[Finalist]:
    """For every allowed loss the settings that hold most, and those with the best balance; each once.

    The balance is test accuracy minus the worst attack's success; it comes first where none keep within any
    loss, as with many compromised clients. Where none keep within some loss, the most accurate come last.
    """
    front = _front(study)
    picked = [_within(front, best - loss) for loss in LOSSES]
    picked.append(max(front, key=lambda item: item[1].balance, default=None))
    if None in picked:
        picked.append(max(front, key=lambda item: item[1].test_accuracy, default=None))
    each = [pick for place, pick in enumerate(picked) if pick is not None and pick not in picked[:place]]
    return [Finalist(study, rank, *pick) for rank, pick in enumerate(each)]


def best_of(study: Study, best: float, loss: float) -> Found | None:
    """The settings that hold most at an allowed loss; the most accurate where none keep within it."""
    front = _front(study)
    return _within(front, best - loss) or max(front, key=lambda item: item[1].test_accuracy, default=None)


def _front(study: Study) -> list[Found]:
    """The settings that no others beat in both accuracies."""
    done = study.finished()
    return [item for item, keep in zip(done, pareto([m.values for _, m in done]), strict=True) if keep]


def _within(front: list[Found], least: float) -> Found | None:
    """Of the settings with such a test accuracy the one that holds most."""
    there = [item for item in front if item[1].test_accuracy >= least]
    return min(there, key=lambda item: item[1].worst_attack_accuracy, default=None)

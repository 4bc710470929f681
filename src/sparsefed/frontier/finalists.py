"""What a search hands to the report: for every allowed loss, the settings that hold most."""

from typing import NamedTuple

from sparsefed.frontier.points import Measured, pareto
from sparsefed.frontier.study import Study

__all__ = ["LOSSES", "Finalist", "finalists_of"]

LOSSES = (2.0, 5.0, 1.0, 0.5)
"""Points of test accuracy below the best unattacked run that a defense may cost, the most telling first."""


class Finalist(NamedTuple):
    """Settings that the search found best for one allowed loss."""

    study: Study
    rank: int
    settings: dict
    searched: Measured


def finalists_of(study: Study, best: float) -> list[Finalist]:
    """For every allowed loss the settings that hold most, each once."""
    done = study.finished()
    front = [item for item, keep in zip(done, pareto([m.values for _, m in done]), strict=True) if keep]
    picked: list[tuple[dict, Measured]] = []
    for loss in LOSSES:
        within = [item for item in front if item[1].test_accuracy >= best - loss]
        fallback = max(front, key=lambda item: item[1].test_accuracy, default=None)
        pick = min(within, key=lambda item: item[1].worst_attack_accuracy, default=fallback)
        if pick is not None and pick not in picked:
            picked.append(pick)
    return [Finalist(study, rank, *pick) for rank, pick in enumerate(picked)]

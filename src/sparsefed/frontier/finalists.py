"""What a search hands to the report: for every allowed loss, the settings that hold most."""

from typing import NamedTuple

from sparsefed.frontier.points import Measured, pareto
from sparsefed.frontier.study import Study

__all__ = ["LOSSES", "Finalist", "finalists_of"]

LOSSES = (2.0, 5.0, 1.0, 0.5)
"""Points of test accuracy below the best unattacked run that a defense may cost, the most telling first."""


class Finalist(NamedTuple):
    """Settings that the search found best, for one allowed loss or in balance."""

    study: Study
    rank: int
    settings: dict
    searched: Measured


def finalists_of(study: Study, best: float) -> list[Finalist]:
    """For every allowed loss the settings that hold most, and those with the best balance; each once.

    Where none keep within any loss, as with many compromised clients, the balance decides alone: test
    accuracy minus the worst attack's success.
    """
    done = study.finished()
    front = [item for item, keep in zip(done, pareto([m.values for _, m in done]), strict=True) if keep]
    picked: list[tuple[dict, Measured]] = []
    for loss in LOSSES:
        within = [item for item in front if item[1].test_accuracy >= best - loss]
        if within:
            picked.append(min(within, key=lambda item: item[1].worst_attack_accuracy))
    if front:
        picked.append(max(front, key=lambda item: item[1].balance))
    each = [pick for place, pick in enumerate(picked) if pick not in picked[:place]]
    return [Finalist(study, rank, *pick) for rank, pick in enumerate(each)]

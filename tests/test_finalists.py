"""What a search hands to the report, and how the report compares the horizons."""

from types import SimpleNamespace
from typing import Any

from hypothesis import given, strategies as st
from test_frontier import plan

from sparsefed.frontier.finalists import LOSSES, Finalist, finalists_of
from sparsefed.frontier.goals import Goal
from sparsefed.frontier.points import Measured, dominated
from sparsefed.frontier.report import _point


def _searched(*found: tuple[float, float]) -> Any:
    done = [({"place": i}, Measured(test, test, "PGD", attack)) for i, (test, attack) in enumerate(found)]
    return SimpleNamespace(finished=lambda: done)


def test_where_no_setting_keeps_within_a_loss_balance_and_accuracy_are_reported() -> None:
    lost = _searched((87.9, 86.5), (85.0, 41.5), (80.2, 26.0), (74.3, 28.5))
    assert [final.searched.values for final in finalists_of(lost, 96.3)] == [(80.2, 26.0), (87.9, 86.5)]


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=9))
def test_what_is_reported_is_on_the_frontier_and_each_only_once(found: list[tuple[float, float]]) -> None:
    finals = finalists_of(_searched(*found), max(test for test, _ in found))
    picked = [final.searched for final in finals]
    assert [final.rank for final in finals] == list(range(len(picked)))
    assert len(set(picked)) == len(picked) >= 1
    assert not any(dominated(each.values, found) for each in picked)
    assert max(each.balance for each in picked) == max(test - attack for test, attack in found)
    for loss in LOSSES:
        within = [attack for test, attack in found if test >= max(t for t, _ in found) - loss]
        assert min(within) in [each.worst_attack_accuracy for each in picked]


def test_the_two_horizons_are_compared_over_the_same_seeds() -> None:
    asked = plan(seeds=[0, 1])
    study = SimpleNamespace(
        goal=Goal("chosen points", {"PGD": asked.own().attack}), share=0.1, defense="clip"
    )
    final = Finalist(study, 0, {}, Measured(90.0, 90.0, "PGD", 1.0))

    def run(attack: float) -> dict[str, dict[str, Any]]:
        row = {"outcome": "trained", "test_accuracy": 90.0, "test_accuracy_rest": 90.0}
        return {"": row, "PGD": row | {"attack_accuracy": attack}}

    found = {(0, 0, 1): run(10.0), (0, 1, 1): run(2.0), (0, 0, 2): run(12.0)}
    point = _point(asked, 0, final, found)
    assert (point.reported.seeds, point.doubled.seeds) == ((0,), (0,))
    assert (point.reported.worst_attack_accuracy, point.delays) == (10.0, False)
    del found[0, 0, 2]
    assert _point(asked, 0, final, found).reported.seeds == (0, 1)

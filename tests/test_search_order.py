"""Which settings a search tries next, with runs that only take time, on a clock of the test's own."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_frontier import CLIP, plan

import sparsefed as sf
from sparsefed.frontier import ledger, search
from sparsefed.frontier.budget import SEARCHED, Budget, least
from sparsefed.frontier.plan import Plan
from sparsefed.frontier.report import report
from sparsefed.frontier.study import Trial


class Pool:
    """In place of `run_each`: a run of SparseFed takes 20 seconds, another 1, on a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.worked: Counter[str] = Counter()

    def run_each(self, experiments, runs: Path, jobs: int = 1, **_: object):
        queue, busy = iter(experiments), dict[str, tuple[float, sf.Experiment]]()
        while True:
            for name, experiment in queue:
                assert name not in busy, "two runs of one name"
                assert experiment.digest() not in {other.digest() for _, other in busy.values()}
                seconds = 20.0 if isinstance(experiment.defense, sf.SparseFed) else 1.0
                busy[name] = (self.now + seconds, experiment)
                self.worked[type(experiment.defense).__name__] += int(seconds)
                if len(busy) == jobs:
                    break
            if not busy:
                return
            name = min(busy, key=lambda each: busy[each][0])
            self.now = busy.pop(name)[0]
            yield (
                name,
                {
                    "outcome": "trained",
                    "test_accuracy": 90.0,
                    "test_accuracy_rest": 80.0 + len(self.worked) + self.now % 7,
                    "attack_accuracy": self.now % 11,
                },
            )


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Pool:
    made = Pool()
    monkeypatch.setattr(ledger, "run_each", made.run_each)
    monkeypatch.setattr(ledger, "time", SimpleNamespace(monotonic=lambda: made.now))
    return made


def searched(asked: Plan, folder: Path, budget: str, jobs: int, share: float = SEARCHED) -> ledger.Ledger:
    work = ledger.Ledger(asked, folder, Budget.of(budget), jobs, 1)
    list(search._search(work, share))
    return work


@pytest.mark.parametrize("jobs", [1, 2, 3, 5])
def test_a_setting_is_begun_only_where_the_budget_reaches_to_its_end(
    jobs: int, pool: Pool, tmp_path: Path
) -> None:
    work = searched(plan(), tmp_path, str(least(4)), jobs)
    assert [study.tried for study in work.studies] == [1, 0]
    both = searched(plan(), tmp_path / "both", "8", jobs, share=1.0)
    assert [study.tried for study in both.studies] == [1, 1]
    assert both.searched.runs <= 8


def test_of_two_goals_one_is_searched_with_what_is_too_little_for_the_other(
    pool: Pool, tmp_path: Path
) -> None:
    asked = plan(goals=["chosen points", "untargeted"], defenses={"clip": CLIP})
    work = searched(asked, tmp_path, "11", 1, share=1.0)
    assert {study.goal.name: study.tried for study in work.studies} == {"chosen points": 1, "untargeted": 1}


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_every_defense_gets_the_same_time_and_a_slow_one_fewer_settings(
    jobs: int, pool: Pool, tmp_path: Path
) -> None:
    work = searched(plan(), tmp_path, "2000s", jobs)
    setting = 20 * (1 + len(work.studies[0].goal.attacks))
    assert abs(pool.worked["Mean"] - pool.worked["SparseFed"]) <= setting * jobs
    assert sum(study.searched[1] for study in work.studies) == sum(pool.worked.values())
    by_name = {study.defense: study.count for study in work.studies}
    assert by_name["clip"] > 5 * by_name["SparseFed"] > 0


def test_a_slow_rule_does_not_take_all_processes_while_its_first_runs_are_under_way(
    pool: Pool, tmp_path: Path
) -> None:
    work = searched(plan(compromised=[0.1, 0.2, 0.3]), tmp_path, "1000s", jobs=11)
    slow = [study for study in work.studies if study.defense == "SparseFed"]
    assert all(1 <= study.count <= 3 for study in slow)
    assert pool.worked["SparseFed"] <= 2 * pool.worked["Mean"]


@pytest.mark.parametrize("jobs", [1, 3, 8])
def test_several_shares_and_goals_are_searched_and_reported_side_by_side(
    jobs: int, pool: Pool, tmp_path: Path
) -> None:
    asked = plan(compromised=[0.1, 0.2, 0.1], goals=["untargeted", "chosen points"], only=["equilibrium"])
    work = searched(asked, tmp_path, "300 runs", jobs)
    assert len(work.studies) == 2 * 2 * 2
    assert all(study.finished() for study in work.studies)
    places = list(report(work))
    assert len({place.what for place in places}) == len(places)
    assert any("10 %, chosen points" in place.what for place in places)


@pytest.mark.parametrize("jobs", [1, 2, 4])
def test_a_grid_is_finished_though_others_are_under_way(jobs: int, pool: Pool, tmp_path: Path) -> None:
    asked = plan(defenses={"clip": CLIP}, vary={"clip.norm": [0.1, 1.0, 2.0]})
    work = searched(asked, tmp_path, "500 runs", jobs)
    assert work.studies[0].tried == 3


def test_a_search_ends_where_no_setting_of_a_defense_can_be_run(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = Trial.next

    def refused(trial: Trial) -> tuple[str, sf.Experiment]:
        if trial.study.defense == "SparseFed":
            raise sf.SpecError("no such setting")
        return usual(trial)

    monkeypatch.setattr(Trial, "next", refused)
    work = searched(plan(), tmp_path, "50 runs", 1)
    assert {study.defense: study.tried > 0 for study in work.studies} == {"clip": True, "SparseFed": False}

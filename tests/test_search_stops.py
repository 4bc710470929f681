"""A search that stops: nothing that was begun is lost, counted twice, or held against a setting."""

from pathlib import Path

import optuna
import pytest
from small import finished
from test_frontier import CLIP, SPARSEFED, plan
from test_search_order import Pool

import sparsefed as sf
from sparsefed.core.errors import CrashError
from sparsefed.frontier import ledger, search
from sparsefed.frontier.budget import Budget
from sparsefed.frontier.search import frontier
from sparsefed.frontier.study import Study


def failing(problem: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run of SparseFed ends with the problem."""
    usual = ledger.run_each

    def run_each(experiments, runs: Path, **where: object):
        under_way = {}

        def seen():
            for name, experiment in experiments:
                under_way[name] = experiment
                yield name, experiment

        for name, outcome in usual(seen(), runs, **where):
            yield name, problem if isinstance(under_way[name].defense, sf.SparseFed) else outcome

    monkeypatch.setattr(ledger, "run_each", run_each)


def test_a_stop_while_settings_are_drawn_leaves_a_search_that_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = plan(defenses={"clip": CLIP})
    usual = optuna.trial.Trial.suggest_float
    monkeypatch.setattr(
        optuna.trial.Trial, "suggest_float", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        finished(frontier(asked, tmp_path, Budget.of("20 runs")))
    monkeypatch.setattr(optuna.trial.Trial, "suggest_float", usual)
    _, points = finished(frontier(asked, tmp_path, Budget.of("20 runs")))
    assert points


def test_a_full_disk_ends_the_search_and_is_not_held_against_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = plan(defenses={"SparseFed": SPARSEFED, "clip": CLIP})
    with monkeypatch.context() as broken:
        failing(sf.RunError("no space left on device"), broken)
        with pytest.raises(sf.RunError, match="no space left"):
            finished(frontier(asked, tmp_path, Budget.of("30 runs")))
    work = ledger.Ledger(asked, tmp_path, Budget.of("30 runs"), 1, 1)
    states = [trial.state.name for study in work.studies for trial in study._trials()]
    assert "FAIL" not in states
    _, points = finished(frontier(asked, tmp_path, Budget.of("30 runs")))
    assert {point.defense for point in points} == {"clip", "SparseFed"}


def test_a_rule_that_crashes_with_some_settings_fails_only_those(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(CrashError("my_rule.py, line 3: IndexError"), monkeypatch)
    _, points = finished(frontier(plan(), tmp_path, Budget.of("20 runs")))
    assert {point.defense for point in points} == {"clip"}


def test_other_knobs_make_another_search(tmp_path: Path) -> None:
    asked = plan(defenses={"clip": CLIP})
    finished(frontier(asked, tmp_path, Budget.of("20 runs")))
    fixed = plan(defenses={"clip": CLIP | {"fixed": ["clip.norm"]}})
    assert ledger.Ledger(fixed, tmp_path, Budget.of("20 runs"), 1, 1).studies[0].count == 0
    again = ledger.Ledger(asked, tmp_path, Budget.of("20 runs"), 1, 1).studies[0]
    assert again.count > 0


def test_a_larger_budget_searches_on_though_the_report_has_cost_its_part(tmp_path: Path) -> None:
    asked = plan(defenses={"clip": CLIP})
    finished(frontier(asked, tmp_path, Budget.of("20 runs")))

    def tried() -> Study:
        return ledger.Ledger(asked, tmp_path, Budget.of("20 runs"), 1, 1).studies[0]

    before = tried().searched[0]
    finished(frontier(asked, tmp_path, Budget.of("30 runs")))
    assert tried().searched[0] >= before + 4


def test_time_before_a_stop_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool()

    def stopped(experiments, runs: Path, **_: object):
        next(iter(experiments))
        pool.now += 5.0
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(ledger, "run_each", stopped)
    monkeypatch.setattr(ledger, "time", pool_clock(pool))
    work = ledger.Ledger(plan(), tmp_path, Budget.of("100s"), 1, 1)
    with pytest.raises(KeyboardInterrupt):
        list(search._search(work))
    assert work.searched.seconds == 5.0
    assert work.searched.runs == 0


def pool_clock(pool: Pool) -> object:
    """`time` of a pool of its own clock."""

    class Clock:
        @staticmethod
        def monotonic() -> float:
            return pool.now

    return Clock


def test_half_a_line_that_a_full_disk_left_is_no_reason_to_begin_again(tmp_path: Path) -> None:
    asked = plan(defenses={"clip": CLIP})
    finished(frontier(asked, tmp_path, Budget.of("20 runs")))
    (journal,) = (tmp_path / "frontier").glob("*.journal")
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 8, "wor')
    work = ledger.Ledger(asked, tmp_path, Budget.of("20 runs"), 1, 1)
    assert work.studies[0].finished()
    assert journal.read_bytes().startswith(whole)


def test_a_search_ends_when_all_settings_have_been_tried(tmp_path: Path) -> None:
    trimmed = CLIP | {"defense": {"type": "TrimmedMean", "f": 1}}
    kept = ["clip.norm", "schedule.value", "defense.momentum"]
    asked = plan(defenses={"trimmed mean": trimmed | {"fixed": kept}})
    assert list(asked.searchable("trimmed mean")) == ["defense.f"]
    work = ledger.Ledger(asked, tmp_path, Budget.of("10000 runs"), 1, 1)
    list(search._search(work))
    tried = [trial.user_attrs["settings"]["defense.f"] for trial in work.studies[0]._trials() if trial.values]
    assert len(tried) == len(set(tried)) > 1


def test_a_grid_s_point_that_was_drawn_when_the_search_stopped_is_run(tmp_path: Path) -> None:
    asked = plan(defenses={"clip": CLIP}, vary={"clip.norm": [0.1, 0.5, 1.0]})
    study = ledger.Ledger(asked, tmp_path, Budget.of("100 runs"), 1, 1).studies[0]
    study._study.enqueue_trial(study._grid[0])
    study._study.ask()
    _, points = finished(frontier(asked, tmp_path, Budget.of("100 runs")))
    again = ledger.Ledger(asked, tmp_path, Budget.of("100 runs"), 1, 1).studies[0]
    assert {settings["clip.norm"] for settings, _ in again.finished()} | {0.1, 0.5, 1.0} == {0.1, 0.5, 1.0}
    assert again.count == 3
    assert all(trial.state.name == "COMPLETE" for trial in again._trials())
    assert points


@pytest.mark.parametrize("done", [1, 3, 5])
def test_a_search_with_the_least_budget_reports_also_when_it_was_stopped(done: int, tmp_path: Path) -> None:
    steps = frontier(plan(), tmp_path, Budget.of("8 runs"))
    for _ in range(done):
        next(steps)
    steps.close()
    _, points = finished(frontier(plan(), tmp_path, Budget.of("8 runs")))
    assert [point.reported is not None for point in points] == [True]

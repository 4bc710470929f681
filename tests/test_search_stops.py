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

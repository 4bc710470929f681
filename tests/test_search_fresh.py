"""A search whose files of data have changed: it says so before it goes on, and `--fresh` begins it again."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pytest
import tomli_w
from sklearn.datasets import load_digits
from small import finished
from test_audit import BASE as AUDITED
from test_frontier import BASE, CLIP, plan

import sparsefed as sf
from sparsefed import cli
from sparsefed.federation.round import Federation
from sparsefed.frontier.budget import Budget
from sparsefed.frontier.plan import Plan
from sparsefed.frontier.search import frontier
from sparsefed.frontier.storage import storage_in
from sparsefed.runs import simulate

COMMANDS = {
    "frontier": ["frontier", "mine.toml", "--budget", "26"],
    "tune": ["tune", "mine.toml", "--budget", "26", "--goal", "untargeted", "--max-loss", "100"],
    "audit": ["audit", "mine.toml", "--budget", "14"],
}


def write_data(path: Path, seed: int) -> None:
    """Handwritten digits, in an order of the seed's own."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(x))
    x, y = (x[order] / 16).astype(np.float32), y[order]
    np.savez(path, x_train=x[:-400], y_train=y[:-400], x_test=x[-400:], y_test=y[-400:])


def searched(folder: Path) -> Plan:
    if not (folder / "mine.npz").exists():
        write_data(folder / "mine.npz", 0)
    data = {"type": "Npz", "path": str(folder / "mine.npz")}
    return plan(base={**BASE, "data": data}, defenses={"clip": CLIP})


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_searches_takes_the_remedy_that_it_names(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    write_data(Path("mine.npz"), 0)
    tree = {**AUDITED, "data": {"type": "Npz", "path": "mine.npz"}}
    if command != "audit":
        base, defenses = {**tree, "rounds": 4}, {"clip": CLIP}
        tree = {"base": base, "defenses": defenses, "goals": ["untargeted"], "seeds": [0]}
    Path("mine.toml").write_text(tomli_w.dumps(tree))

    def ends_with(code: int, *more: str) -> str:
        with pytest.raises(SystemExit) as stop:
            cli.main([*COMMANDS[command], *more])
        said = capsys.readouterr().err
        assert stop.value.code == code, said
        return said

    ends_with(0)
    write_data(Path("mine.npz"), 1)
    said = ends_with(2)
    assert "`mine.npz` of Npz changed since" in said
    assert "`--fresh`" in said
    ends_with(0, "--fresh")
    ends_with(0)


def test_what_a_search_found_with_other_files_is_not_reported(tmp_path: Path) -> None:
    asked = searched(tmp_path)
    finished(frontier(asked, tmp_path, Budget.of("20 runs")))
    write_data(tmp_path / "mine.npz", 1)
    with pytest.raises(sf.RunError, match="changed since these runs were made"):
        finished(frontier(asked, tmp_path, Budget.of("400 runs")))


def test_a_search_whose_files_are_the_same_goes_on_with_fresh_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, played = searched(tmp_path), list[str]()
    usual = simulate.run_round

    def run_round(fed: Federation, *rest: object, **named: object) -> object:
        played.append(fed.spec.digest())
        return usual(fed, *rest, **named)

    monkeypatch.setattr(simulate, "run_round", run_round)
    finished(frontier(asked, tmp_path, Budget.of("20 runs")))
    first = {*played}
    played.clear()
    finished(frontier(asked, tmp_path, Budget.of("20 runs"), fresh=True))
    assert not played
    finished(frontier(asked, tmp_path, Budget.of("30 runs"), fresh=True))
    assert played
    assert first.isdisjoint(played)


def test_a_budget_that_is_too_small_costs_no_search(tmp_path: Path) -> None:
    asked = searched(tmp_path)
    finished(frontier(asked, tmp_path, Budget.of("20 runs")))
    before = journal(tmp_path, asked)
    write_data(tmp_path / "mine.npz", 1)
    with pytest.raises(sf.SpecError, match="budget: expected at least 8 runs"):
        finished(frontier(asked, tmp_path, Budget.of("3 runs"), fresh=True))
    assert journal(tmp_path, asked) == before


def write_rule(folder: Path, factor: str) -> None:
    """A rule of the user's own: the mean times an expression."""
    (folder / "fresh_rule.py").write_text(
        '"A rule."\nfrom sparsefed.defenses import Mean\n\n\n'
        'class Scaled(Mean):\n    "A scaled mean."\n\n'
        f"    def aggregate(self, updates):\n        return {factor} * super().aggregate(updates)\n"
    )
    for name in ("fresh_rule", *[name for name in sys.modules if name.endswith("fresh_rule")]):
        sys.modules.pop(name, None)
    importlib.invalidate_caches()


@pytest.fixture
def with_own_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Plan]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    mine = {"clip": CLIP["clip"], "defense": {"type": "fresh_rule:Scaled"}}
    return lambda: plan(defenses={"clip": CLIP, "mine": mine})


def test_only_searches_whose_files_have_changed_begin_anew(
    tmp_path: Path, with_own_rule: Callable[[], Plan]
) -> None:
    write_rule(tmp_path, "1.0")
    finished(frontier(with_own_rule(), tmp_path, Budget.of("30 runs")))
    before = journal(tmp_path, with_own_rule())
    finished(frontier(with_own_rule(), tmp_path, Budget.of("30 runs"), fresh=True))
    assert journal(tmp_path, with_own_rule()) == before
    write_rule(tmp_path, "0.5")
    finished(frontier(with_own_rule(), tmp_path, Budget.of("30 runs"), fresh=True))
    after = journal(tmp_path, with_own_rule())
    assert {name.split(" | ")[0] for name in before if before[name] == after[name]} == {"clip"}


def test_settings_that_failed_are_tried_again_with_fresh(
    tmp_path: Path, with_own_rule: Callable[[], Plan]
) -> None:
    def asked() -> Plan:
        both = with_own_rule()
        return both.but(defenses={"mine": both.defenses["mine"]}, vary={"clip.norm": [0.5, 1.0]})

    write_rule(tmp_path, "undefined")
    for _ in range(2):
        with pytest.raises(sf.SpecError, match=r"none; mine: NameError in fresh_rule.py.*`--fresh` tries"):
            finished(frontier(asked(), tmp_path, Budget.of("20 runs")))
    write_rule(tmp_path, "1.0")
    _, points = finished(frontier(asked(), tmp_path, Budget.of("20 runs"), fresh=True))
    assert points


def test_settings_that_were_stopped_and_then_changed_cost_nothing_with_fresh(tmp_path: Path) -> None:
    asked = searched(tmp_path)
    steps = frontier(asked, tmp_path, Budget.of("8 runs"))
    for _ in range(3):
        next(steps)
    steps.close()
    write_data(tmp_path / "mine.npz", 1)
    with pytest.raises(sf.RunError, match="`--fresh`"):
        finished(frontier(asked, tmp_path, Budget.of("8 runs")))
    _, points = finished(frontier(asked, tmp_path, Budget.of("8 runs"), fresh=True))
    assert points[0].reported is not None


def test_a_damaged_folder_is_made_again(tmp_path: Path) -> None:
    asked = searched(tmp_path)
    finished(frontier(asked, tmp_path, Budget.of("20 runs")))
    for spec in tmp_path.glob("frontier/*/spec.json"):
        spec.write_text("{")
    with pytest.raises(sf.RunError, match="`--fresh`"):
        finished(frontier(asked, tmp_path, Budget.of("20 runs")))
    finished(frontier(asked, tmp_path, Budget.of("40 runs"), fresh=True))
    finished(frontier(asked, tmp_path, Budget.of("40 runs")))


def journal(folder: Path, asked: Plan) -> dict[str, int]:
    """Which study stands behind each search: one that began anew is another."""
    found = optuna.get_all_study_summaries(storage_in(folder, asked))
    return {study.study_name: study._study_id for study in found}

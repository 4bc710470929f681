"""The frontier: settings are chosen apart from what is reported, nothing is run twice, delays are named."""

import contextlib
import json
import math
from functools import partial
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given, strategies as st
from small import finished

import sparsefed as sf
from sparsefed import cli
from sparsefed.core.knobs import Knob
from sparsefed.data import Digits
from sparsefed.data.holdout import Holdout
from sparsefed.federation.round import Federation
from sparsefed.frontier.budget import SEARCHED, Budget, least
from sparsefed.frontier.goals import goals_of
from sparsefed.frontier.page import answer, as_toml, markdown, rows
from sparsefed.frontier.picture import plot_frontier
from sparsefed.frontier.plan import Plan, for_search, read_plan
from sparsefed.frontier.points import Measured, Point, dominated, pareto
from sparsefed.frontier.search import frontier
from sparsefed.frontier.storage import storage_in
from sparsefed.frontier.study import Question, Study
from sparsefed.frontier.tune import SHARES, tune

BASE = {
    "rounds": 4,
    "cohort": 10,
    "data": {"type": "Digits"},
    "partition": {"type": "IID", "clients": 50},
    "model": {"type": "Linear"},
    "schedule": {"type": "Constant", "value": 0.1},
    "defense": {"type": "Mean"},
    "attack": {
        "objective": {"type": "Targeted", "points": 10},
        "presence": {"type": "Pool", "clients": 5},
        "method": {"type": "PGD", "local_lr": 0.1},
    },
}
CLIP = {"clip": {"type": "FixedClip", "norm": 1.0}}
SPARSEFED = {"clip": {"type": "FixedClip", "norm": 1.0}, "defense": {"type": "SparseFed", "k": 5}}


def plan(**changes: object) -> Plan:
    usual = {
        "base": BASE,
        "defenses": {"clip": CLIP, "SparseFed": SPARSEFED},
        "goals": ["untargeted"],
        "seeds": [0],
    }
    return Plan(**{**usual, **changes})


def test_every_defense_is_searched_and_reported_at_both_horizons(tmp_path: Path) -> None:
    _, points = finished(frontier(plan(), tmp_path, Budget.of("36 runs")))
    assert {point.defense for point in points} == {"clip", "SparseFed"}
    for point in points:
        assert point.reported is not None
        assert point.searched.seeds != point.reported.seeds == (0,)
        assert set(point.settings) >= {"clip.norm", "defense.momentum", "schedule.value"}
        assert point.compromised == 0.1
    assert any(point.doubled is not None for point in points)


def test_a_search_never_sees_the_test_set_the_seed_or_the_points_of_the_report() -> None:
    searched = for_search(plan().experiment("clip"))
    own, test = searched.data.load(), Digits().load().test
    images = {bytes(image.numpy().tobytes()) for image in own.test.x}
    assert searched.seed not in plan().seeds
    train = {bytes(image.numpy().tobytes()) for image in Digits().load().train.x}
    assert images <= train
    assert len(own.test.y) <= len(test.y)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.9])
def test_a_holdout_splits_the_training_examples(share: float) -> None:
    whole, split = Digits().load(), Holdout(data=Digits(), share=share).load()
    assert len(split.train.y) + len(split.test.y) == len(whole.train.y)
    assert split.classes == whole.classes


def test_a_frontier_that_is_run_again_runs_nothing_again(tmp_path: Path, monkeypatch) -> None:
    _, first = finished(frontier(plan(), tmp_path, Budget.of("18 runs")))
    done = {path.parent.name for path in tmp_path.glob("**/result.json")}
    from sparsefed.runs import simulate as module

    def refuse(*_: object) -> None:
        raise AssertionError("a round was run")

    monkeypatch.setattr(module, "run_round", refuse)
    _, again = finished(frontier(plan(), tmp_path, Budget.of("18 runs")))
    assert again == first
    assert {path.parent.name for path in tmp_path.glob("**/result.json")} == done


def test_a_frontier_that_was_stopped_resumes_where_it_was(tmp_path: Path) -> None:
    steps = frontier(plan(), tmp_path, Budget.of("18 runs"))
    for _ in range(6):
        next(steps)
    steps.close()
    before = len(list(tmp_path.glob("**/result.json")))
    _, points = finished(frontier(plan(), tmp_path, Budget.of("18 runs")))
    assert before == 6
    assert len(list(tmp_path.glob("**/result.json"))) <= 18
    assert {point.defense for point in points} == {"clip", "SparseFed"}


def test_a_grid_runs_each_of_its_points_and_nothing_else(tmp_path: Path) -> None:
    grid = plan(defenses={"clip": CLIP}, vary={"clip.norm": [0.1, 1.0]})
    _, points = finished(frontier(grid, tmp_path, Budget.of("100 runs")))
    assert {point.settings["clip.norm"] for point in points} <= {0.1, 1.0}
    assert all(set(point.settings) == {"clip.norm"} for point in points)


def test_goals_are_kept_apart(tmp_path: Path) -> None:
    both = plan(goals=["chosen points", "untargeted"], defenses={"clip": CLIP})
    _, points = finished(frontier(both, tmp_path, Budget.of("20 runs")))
    assert {point.goal for point in points} == {"chosen points", "untargeted"}
    names = {point.goal: point.searched.worst_attack for point in points}
    goals = goals_of(both.own(), Digits().load(), 0.25)
    assert names["untargeted"] in goals["untargeted"].attacks
    assert names["chosen points"] in goals["chosen points"].attacks
    assert not goals["untargeted"].attacks.keys() & goals["chosen points"].attacks.keys() - {"equilibrium"}


def test_the_goals_take_the_settings_of_the_experiments_own_attack() -> None:
    experiment = sf.Experiment(**BASE)
    goals = goals_of(experiment, Digits().load(), 0.25)
    pgd = goals["chosen points"].attacks["PGD"]
    assert pgd.method == experiment.attack.method
    assert pgd.objective == experiment.attack.objective
    assert pgd.presence.fraction == 0.25


def test_a_file_may_name_the_attacks_that_are_tried(tmp_path: Path) -> None:
    only = plan(defenses={"clip": CLIP}, only=["sign flip"])
    _, points = finished(frontier(only, tmp_path, Budget.of("16 runs")))
    assert {point.searched.worst_attack for point in points} == {"sign flip"}
    assert "Only these attacks were tried: sign flip." in markdown(only, points, "")
    with pytest.raises(sf.SpecError, match=r"only: expected one or more of equilibrium, .*, found 'flip'"):
        finished(frontier(plan(only=["flip"]), tmp_path, Budget.of("16 runs")))


VALUES = st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=12)


@given(VALUES)
def test_what_is_not_on_the_frontier_is_beaten_by_something_that_is(
    values: list[tuple[float, float]],
) -> None:
    kept = pareto(values)
    front = [value for value, keep in zip(values, kept, strict=True) if keep]
    assert front
    for value, keep in zip(values, kept, strict=True):
        assert keep != dominated(value, front)


def point(before: float, after: float) -> Point:
    def at(hit: float) -> Measured:
        return Measured(95.0, 94.0, "PGD", hit, (0,))

    return Point("chosen points", 0.1, "clip", {"clip.norm": 1.0}, at(before), at(before), at(after))


@pytest.mark.parametrize(
    ("before", "after", "delays"),
    [(5, 12, False), (5, 21, True), (30, 35, False), (30, 45, True), (9, 2, False)],
)
def test_a_point_that_falls_when_the_rounds_are_doubled_is_a_delay(before, after, delays) -> None:
    assert point(before, after).delays is delays


def test_the_page_names_price_settings_and_delays(tmp_path: Path) -> None:
    points = [point(5, 12), point(5, 90)]
    page = markdown(plan(), points, "sparsefed frontier x.toml")
    assert "5.0 → 12.0" in page
    assert "| delays |" in page
    assert "sparsefed frontier x.toml" in page
    plot_frontier(plan(), points, tmp_path / "frontier.png")
    assert (tmp_path / "frontier.png").stat().st_size > 0
    assert json.loads(json.dumps(rows(points)))[0]["pareto"] is True


@pytest.mark.parametrize(
    ("text", "runs", "seconds"),
    [
        ("3m", math.inf, 180),
        ("90s", math.inf, 90),
        ("1.5h", math.inf, 5400),
        ("12", 12, math.inf),
        ("12 runs", 12, math.inf),
    ],
)
def test_a_budget_is_a_time_or_a_number_of_runs(text: str, runs: float, seconds: float) -> None:
    assert Budget.of(text) == (runs, seconds)


@pytest.mark.parametrize("text", ["", "soon", "-3m", "0", "3 days"])
def test_other_budgets_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(sf.SpecError, match="budget: expected a time"):
        Budget.of(text)


def test_a_budget_that_does_not_reach_for_one_setting_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        sf.SpecError, match=r"expected enough for one setting.*found 0.001 s; the search, 60 %"
    ):
        finished(frontier(plan(), tmp_path, Budget(math.inf, 0.001)))


def test_a_budget_in_runs_that_is_too_small_names_the_number_to_type_before_any_run(tmp_path: Path) -> None:
    for ask in (frontier, partial(tune, max_loss=90)):
        with pytest.raises(sf.SpecError, match=r"budget: expected at least 8 runs \(.*\), found 7 runs"):
            finished(ask(plan(), tmp_path, Budget.of("7")))
    assert not list(tmp_path.glob("**/result.json"))
    _, points = finished(frontier(plan(), tmp_path, Budget.of("8")))
    assert [point.reported is not None for point in points] == [True]


@given(st.integers(2, 40))
def test_the_least_budget_searches_one_setting_and_reports_it(setting: int) -> None:
    def suffices(runs: int) -> bool:
        most = math.floor(SEARCHED * runs)
        return most >= setting and runs - most >= setting

    assert suffices(least(setting))
    assert not any(suffices(runs) for runs in range(least(setting)))


def test_a_defense_of_the_users_own_is_searched_over_its_own_knobs(tmp_path: Path) -> None:
    (tmp_path / "my_rule.py").write_text(
        '"A rule with a knob."\n'
        "from sparsefed.core.knobs import Knob\n"
        "from sparsefed.defenses import Mean\n\n\n"
        "class Scaled(Mean):\n"
        '    "A scaled mean."\n\n'
        '    knobs = {**Mean.knobs, "factor": Knob(0.5, 2)}\n'
        "    factor: float = 1.0\n"
        '    "What the mean is multiplied with."\n\n'
        "    def aggregate(self, updates):\n"
        "        return self.factor * super().aggregate(updates)\n"
    )
    import sys

    sys.path.insert(0, str(tmp_path))
    try:
        own = plan(defenses={"mine": {"clip": CLIP["clip"], "defense": {"type": "my_rule:Scaled"}}})
        assert "defense.factor" in own.searchable("mine")
        _, points = finished(frontier(own, tmp_path, Budget.of("20 runs")))
    finally:
        sys.path.remove(str(tmp_path))
    assert all("defense.factor" in point.settings for point in points)


def test_the_command_prints_one_list_of_points(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    toml = Path(__file__).parent.parent / "examples" / "digits.toml"
    words = ["frontier", str(toml), "--budget", "26", "--set", "rounds=2", "--set", "cohort=10", "--json"]
    with contextlib.suppress(SystemExit):
        cli.main(words)
    points = json.loads(capsys.readouterr().out)
    wanted = {
        "defense",
        "settings",
        "test_accuracy",
        "worst_attack",
        "worst_attack_accuracy",
        "pareto",
        "seeds",
    }
    assert all(wanted <= point.keys() for point in points)
    assert "SparseFed" in {point["defense"] for point in points}


def test_a_plan_without_a_knob_is_refused_in_one_line() -> None:
    bare = {**BASE, "schedule": {"type": "Constant", "value": 0.1}, "defense": {"type": "Mean"}}
    with pytest.raises(sf.SpecError, match="nothing"):
        Plan(base=bare, defenses={"x": {"schedule": {"type": "nothing"}}}).searchable("x")


def test_a_plan_of_a_plain_experiment_compares_the_usual_defenses() -> None:
    toml = Path(__file__).parent.parent / "examples" / "digits.toml"
    found = read_plan(toml)
    assert {"clip", "SparseFed", "Bulyan"} <= set(found.defenses)
    own = sf.read_experiment(toml)
    assert isinstance(own.defense, sf.SparseFed)
    assert found.stated("SparseFed")["defense.k"] == own.defense.k
    assert "defense.error_decay" not in found.searchable("SparseFed")
    assert found.stated("clip") == {"schedule.peak": 0.2, "clip.norm": 5.0, "defense.momentum": 0.9}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"clip": {"type": "QuantileClip"}, "defense": SPARSEFED["defense"]}, "your SparseFed"),
        (CLIP | {"anchor": {"type": "InitialModel", "stiffness": 0.01}}, "clip, anchored"),
        ({"defense": {"type": "LASA"}}, "LASA"),
        (CLIP, "clip"),
    ],
    ids=str,
)
def test_a_plain_experiments_own_settings_are_searched_first(
    changes: dict[str, object], name: str, tmp_path: Path
) -> None:
    (tmp_path / "own.toml").write_text(tomli_w.dumps(BASE | changes))
    found = read_plan(tmp_path / "own.toml")
    assert found.experiment(name) == sf.Experiment(**BASE | changes | {"attack": None})
    assert found.stated(name)
    unanchored = found.experiment("SparseFed").to_dict()["anchor"]
    assert unanchored["type"] == "Unanchored"


def test_tuning_answers_with_an_experiment_that_keeps_within_its_price(tmp_path: Path) -> None:
    one = plan(compromised=[0.1], defenses={"clip": CLIP})
    _, tuned = finished(tune(one, tmp_path, Budget.of("14 runs"), max_loss=90))
    assert tuned.loss <= 90
    assert tuned.experiment.attack is None
    assert set(tuned.sweep) <= set(SHARES)
    (tmp_path / "tuned.toml").write_text(as_toml(tuned, "sparsefed tune x.toml"))
    assert sf.read_experiment(tmp_path / "tuned.toml") == tuned.experiment
    head, _, attack = as_toml(tuned, "sparsefed tune x.toml").partition("# [attack")
    (tmp_path / "tested.toml").write_text(head + f"[attack{attack}".replace("\n# ", "\n"))
    assert sf.read_experiment(tmp_path / "tested.toml").attack == tuned.attack
    assert "twice the rounds" in answer(tuned) or tuned.point.doubled is None


def test_a_price_that_no_defense_keeps_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(sf.SpecError, match="--max-loss: expected a defense within 0 points"):
        finished(tune(plan(defenses={"clip": CLIP}), tmp_path, Budget.of("14 runs"), max_loss=0))


def test_a_model_that_learns_nothing_is_not_recommended(tmp_path: Path) -> None:
    still = {**BASE, "schedule": {"type": "Constant", "value": 1e-9}}
    one = plan(base=still, defenses={"clip": CLIP}, vary={"clip.norm": [1.0]})
    with pytest.raises(
        sf.SpecError,
        match=r"expected a setting that learns.*found none: the best of 1 setting was clip with .*, at \d",
    ):
        finished(tune(one, tmp_path, Budget.of("14 runs"), max_loss=90))


def test_changes_reach_the_base_of_a_frontiers_own_file(tmp_path: Path) -> None:
    toml = tmp_path / "plan.toml"
    toml.write_text(tomli_w.dumps({"base": BASE, "defenses": {"clip": CLIP}}))
    assert read_plan(toml, ("rounds=7", "data.type=Digits")).experiment("clip").rounds == 7
    assert read_plan(toml).experiment("clip").rounds == BASE["rounds"]


def test_what_a_file_says_of_a_defense_is_tried_first(tmp_path: Path) -> None:
    stated = {"clip": {"type": "FixedClip", "norm": 0.25}, "defense": {"type": "SparseFed", "k": 7}}
    only = plan(defenses={"SparseFed": stated})
    assert only.stated("SparseFed")["clip.norm"] == 0.25
    said, _ = finished(frontier(only, tmp_path, Budget.of("12 runs")))
    assert said[0].startswith("SparseFed")
    first = min(tmp_path.glob("**/spec.json"), key=lambda path: path.stat().st_mtime_ns)
    tree = json.loads(first.read_text())["experiment"]
    assert (tree["clip"]["norm"], tree["defense"]["k"]) == (0.25, 7)


def _study(folder: Path, stated: dict) -> Study:
    only = plan(defenses={"SparseFed": stated})
    fed = Federation.of(only.experiment("SparseFed"))
    goal = goals_of(only.own(), fed.dataset, 0.1)["chosen points"]
    sizes = {"params": fed.network.size, "cohort": fed.spec.cohort}
    return Study(only, Question("SparseFed", 0.1, goal), storage_in(folder, only), sizes)


def test_the_next_settings_lie_near_what_the_file_says(tmp_path: Path) -> None:
    stated = {"clip": {"type": "FixedClip", "norm": 0.25}, "defense": {"type": "SparseFed", "k": 7}}
    study = _study(tmp_path, stated)
    norms = [study.ask().settings["clip.norm"] for _ in range(8)]
    assert norms[0] == 0.25
    assert len(set(norms)) == 8
    factor = (20 / 0.02) ** (1 / 8)
    assert sum(0.25 / factor**2 <= norm <= 0.25 * factor**2 for norm in norms) >= 6
    again = _study(tmp_path / "again", stated)
    assert [again.ask().settings["clip.norm"] for _ in range(8)] == norms


@given(st.floats(0.02, 20), st.floats(-1, 1), st.booleans())
def test_a_knob_moves_by_a_share_of_its_range_and_is_reflected_at_its_ends(start, share, log) -> None:
    knob = Knob(0.02, 20, log=log)
    moved = knob.moved(start, share)

    def place(value: float) -> float:
        return math.log(value / 0.02) / math.log(1000) if log else (value - 0.02) / (20 - 0.02)

    target = place(start) + share
    reflected = 2 - target if target > 1 else abs(target)
    assert 0.02 <= moved <= 20
    assert place(moved) == pytest.approx(reflected, abs=1e-9)


def test_settings_that_learn_too_little_without_an_attack_are_not_attacked(tmp_path: Path) -> None:
    study = _study(tmp_path, {"defense": {"type": "SparseFed", "k": 7}})
    good, poor = study.ask(), study.ask()
    held = {"outcome": "trained", "test_accuracy": 90.0, "test_accuracy_rest": 89.0, "attack_accuracy": 5.0}
    assert [good.record(held) for _ in ("", *study.goal.attacks)][-1]
    assert poor.record(held | {"test_accuracy": 79.0})
    assert [settings for settings, _ in study.finished()] == [good.settings]
    close = study.ask()
    assert not close.record(held | {"test_accuracy": 81.0})


def test_the_usual_defenses_start_from_the_experiment_and_a_value_out_of_range_is_not_tried(
    tmp_path: Path,
) -> None:
    usual = read_plan(_written(tmp_path / "own.toml", BASE))
    started = {"schedule.value": 0.1, "clip.norm": 1.0, "defense.momentum": 0.9}
    assert usual.stated("clip") == started
    assert usual.stated("trimmed mean") == started  # and not f = 1, whatever the cohort
    assert usual.stated("SparseFed, anchored")["anchor.stiffness"] == 1e-3
    wide = plan(defenses={"clip": {"clip": {"type": "FixedClip", "norm": 1e9}}})
    knob = wide.searchable("clip")["clip.norm"]
    assert knob.position(1e9, {}) is None
    assert knob.position(1.0, {}) == 1.0


def _written(path: Path, tree: dict) -> Path:
    path.write_text(tomli_w.dumps(tree))
    return path


def test_what_was_only_searched_is_neither_ranked_nor_drawn_but_said(tmp_path: Path) -> None:
    good, bad = Measured(95, 94, "PGD", 1, (7,)), Measured(90, 80, "PGD", 50, (0,))
    points = [
        Point("chosen points", 0.1, "searched", {"k": 1}, good, None, None),
        Point("chosen points", 0.1, "reported", {"k": 2}, good, bad, None),
    ]
    assert [row["pareto"] for row in rows(points)] == [False, True]
    page = markdown(plan(), points, "sparsefed frontier x.toml")
    assert "The budget ended first: 1 point could not be reported (searched)." in page
    plot_frontier(plan(defenses={"searched": CLIP, "reported": CLIP}), points, tmp_path / "f.svg")
    assert "not reported: searched" in (tmp_path / "f.svg").read_text()

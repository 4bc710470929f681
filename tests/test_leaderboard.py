"""The leaderboard: every defense at settings that stand against every attack, worst case first, resumable."""

import contextlib
import json
import re
from pathlib import Path

import pytest
import tomli_w

import sparsefed as sf
from sparsefed import cli
from sparsefed.data import Digits
from sparsefed.frontier.goals import goals_of
from sparsefed.frontier.leaderboard import Leaderboard, entries, standings, tuned
from sparsefed.frontier.leaderboard_page import heat_map, leaderboard_page
from sparsefed.frontier.plan import read_plan
from sparsefed.frontier.printed import read_points
from sparsefed.frontier.roster import every_attack
from sparsefed.runs.cells import run_cells

CONTENT = {
    "seeds": [0],
    "compromised": [0.2],
    "goals": ["untargeted"],
    "base": {
        "rounds": 3,
        "cohort": 10,
        "data": {"type": "Digits"},
        "partition": {"type": "IID", "clients": 50},
        "model": {"type": "Linear"},
        "schedule": {"type": "Constant", "value": 0.1},
        "defense": {"type": "Mean"},
    },
    "defenses": {"clip": {"clip": {"type": "FixedClip", "norm": 1.0}}, "RFA": {"defense": {"type": "RFA"}}},
    "attacks": {
        "untargeted": {
            "noise": {"method": {"type": "Gaussian", "norm": 1000.0}},
            "flip": {"method": {"type": "SignFlip", "norm": 1.0}},
        }
    },
    "reported": [
        {
            "defense": "RFA",
            "attack": "labels",
            "setting": "MNIST",
            "says": "holds",
            "source": "Table 1",
        }
    ],
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "board.toml"
    path.write_text(tomli_w.dumps(CONTENT))
    return path


def test_the_worst_attack_ranks_a_defense(tmp_path: Path):
    board = Leaderboard(**CONTENT)
    asked = list(entries(board))
    assert len(asked) == 2 * 3
    ended = {cell.name: end for cell, end in run_cells([entry.cell for entry in asked], tmp_path)}
    found = standings(board, [(entry, ended[entry.cell.name]) for entry in asked])
    assert [each.defense for each in found][-1] in {"clip", "RFA"}
    worst = [each.found.worst_attack_accuracy for each in found if each.found]
    assert worst == sorted(worst)
    for each in found:
        assert each.found is not None
        assert each.success[each.found.worst_attack] == pytest.approx(each.found.worst_attack_accuracy)
        assert each.found.worst_attack_accuracy == max(x for x in each.success.values() if x is not None)
        assert not each.failed


def test_one_command_makes_page_picture_and_numbers_and_runs_nothing_twice(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out, plot, runs = tmp_path / "board.md", tmp_path / "board.png", tmp_path / "runs"
    words = ["leaderboard", str(file), "--runs", str(runs)]
    with contextlib.suppress(SystemExit):
        cli.main([*words, "--out", str(out), "--plot", str(plot)])
    made = sorted(path.name for path in runs.iterdir())
    page = out.read_text()
    assert "## Goal: untargeted, 20 % of the clients compromised" in page
    assert "| RFA | labels | MNIST | holds | Table 1 |" in page
    assert "(board.png)" in page
    assert plot.stat().st_size > 10_000
    capsys.readouterr()
    with contextlib.suppress(SystemExit):
        cli.main([*words, "--json"])
    lines = json.loads(capsys.readouterr().out)
    assert {line["defense"] for line in lines} == {"clip", "RFA"}
    assert set(lines[0]["success"]) == {"noise", "flip"}
    assert sorted(path.name for path in runs.iterdir() if path.is_dir()) == [
        name for name in made if (runs / name).is_dir()
    ]


def test_what_a_frontier_has_run_is_not_run_again(file: Path, tmp_path: Path, capsys) -> None:
    runs = tmp_path / "runs"
    words = ["leaderboard", str(file), "--runs", str(runs), "--json"]
    with contextlib.suppress(SystemExit):
        cli.main(words)
    first = capsys.readouterr().out
    moved = [path for path in runs.iterdir() if path.is_dir()]
    (runs / "frontier").mkdir()
    for path in moved[1:]:
        path.rename(runs / "frontier" / path.name)
    with contextlib.suppress(SystemExit):
        cli.main(words)
    assert json.loads(capsys.readouterr().out) == json.loads(first)
    assert {path.name for path in runs.iterdir() if path.is_dir()} == {moved[0].name, "frontier"}
    with contextlib.suppress(SystemExit):
        cli.main(words)  # with none left to run
    assert json.loads(capsys.readouterr().out) == json.loads(first)


def test_a_frontier_s_run_that_is_damaged_or_made_with_other_files_is_made_again(
    file: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    runs = tmp_path / "runs"
    words = ["leaderboard", str(file), "--runs", str(runs), "--json"]
    with contextlib.suppress(SystemExit):
        cli.main(words)
    first = json.loads(capsys.readouterr().out)
    made = [path for path in runs.iterdir() if path.is_dir()]
    (runs / "frontier").mkdir()
    for path in made:
        path.rename(runs / "frontier" / path.name)
    (runs / "frontier" / made[0].name / "result.json").write_text("{")
    monkeypatch.setattr(
        "sparsefed.frontier.leaderboard.Record.stale",
        lambda record: ["mine.py"] if record.folder.name == made[1].name else [],
    )
    with contextlib.suppress(SystemExit):
        cli.main(words)
    assert json.loads(capsys.readouterr().out) == first
    again = {path.name for path in runs.iterdir() if path.is_dir() and path.name != "frontier"}
    assert again == {made[0].name, made[1].name}


def test_every_attack_of_a_goal_can_be_made_and_includes_the_frontier_s():
    base = sf.Experiment(**CONTENT["base"])
    dataset = Digits().load()
    everything = every_attack(base, dataset, 0.1)
    for name, goal in goals_of(base, dataset, 0.1).items():
        assert set(goal.attacks) < set(everything[name].attacks)
    assert len(everything["untargeted"].attacks) >= 12
    assert len(everything["backdoor"].attacks) >= 5
    for goal in everything.values():
        objectives = {type(attack.objective) for attack in goal.attacks.values()}
        assert len({attack.presence for attack in goal.attacks.values()}) == 1
        assert len(objectives) <= 2


def test_a_defense_gets_its_frontier_s_point_for_the_goal_and_the_nearest_share(tmp_path: Path):
    def point(norm: float, share: float, test: float, attack: float) -> dict[str, object]:
        return {
            "defense": "clip",
            "settings": {"clip.norm": norm},
            "goal": "untargeted",
            "compromised": share,
            "test_accuracy": test,
            "worst_attack_accuracy": attack,
        }

    points = [point(1, 0.1, 90, 50), point(2, 0.1, 85, 10), point(3, 0.4, 99, 0)]
    path = tmp_path / "points.json"
    path.write_text(json.dumps(points))
    assert tuned(read_points(path), "clip", "untargeted", 0.15) == {"clip.norm": 2}
    assert tuned(points, "clip", "untargeted", 0.5) == {"clip.norm": 3}
    assert tuned(points, "clip", "backdoor", 0.1) == {"clip.norm": 2}  # another goal's, for want of its own
    assert tuned(points, "RFA", "untargeted", 0.1) == {}
    cells = [entry.cell for entry in entries(Leaderboard(**CONTENT), points) if entry.defense == "clip"]
    assert {cell.experiment.clip for cell in cells} == {sf.FixedClip(norm=2.0)}


def test_points_of_something_else_are_refused(tmp_path: Path):
    path = tmp_path / "points.json"
    whole = {"defense": "clip", "settings": {}, "goal": "untargeted", "compromised": 0.1}
    whole |= {"test_accuracy": 90.0, "worst_attack_accuracy": 3}
    wrong = {
        "{": "found no JSON",
        json.dumps(whole): "a list of points, found a dict",
        "[1, 2]": "point 1: expected an object, found an int",
        '[{"defense": "clip"}]': "point 1: expected `settings`, found none",
        json.dumps(
            [whole, whole | {"compromised": "x"}]
        ): "point 2: `compromised`: expected a number, found 'x'",
        json.dumps([whole | {"worst_attack_accuracy": None}]): "expected a number, found None",
        json.dumps([whole | {"test_accuracy": None}]): "expected points that were reported, found none",
        "[]": "expected points that were reported, found none",
    }
    for text, said in wrong.items():
        path.write_text(text)
        with pytest.raises(sf.SpecError, match=re.escape(said)):
            read_points(path)
    with pytest.raises(sf.SpecError, match="no such file"):
        read_points(tmp_path / "none.json")
    path.write_text(json.dumps([whole, whole | {"test_accuracy": None, "worst_attack_accuracy": None}]))
    assert read_points(path) == [whole]


def test_points_of_other_defenses_are_refused() -> None:
    point = {"defense": "clipp", "settings": {}, "goal": "untargeted", "compromised": 0.2}
    with pytest.raises(sf.SpecError, match="expected points of clip, RFA, found points of clipp"):
        Leaderboard(**CONTENT).settled([point])


@pytest.mark.parametrize(
    ("attacks", "said"),
    [
        (
            {"backdoor": {"a": {"method": {"type": "PGD"}}}},
            r"attacks of the goals \(untargeted\), found backdoor",
        ),
        (
            {"untargeted": {"a": {"method": {"type": "IPM"}, "presence": {"type": "Pool", "clients": 1}}}},
            "expected `method` and perhaps `objective`, found `presence`",
        ),
    ],
)
def test_what_would_be_ignored_is_refused(attacks: dict, said: str, tmp_path: Path) -> None:
    path = tmp_path / "board.toml"
    path.write_text(tomli_w.dumps(CONTENT | {"attacks": attacks}))
    with pytest.raises(sf.SpecError, match=said):
        read_plan(path, kind=Leaderboard)


def test_a_run_that_fails_is_told_and_the_others_stand(tmp_path: Path):
    content = CONTENT | {
        "defenses": {"Bulyan": {"defense": {"type": "Bulyan", "f": 9}}, **CONTENT["defenses"]}
    }
    board = Leaderboard(**content)
    asked = list(entries(board))
    ended = {cell.name: end for cell, end in run_cells([entry.cell for entry in asked], tmp_path)}
    found = standings(board, [(entry, ended[entry.cell.name]) for entry in asked])
    assert found[-1].defense == "Bulyan"
    assert found[-1].found is None
    page = leaderboard_page(board, found, "sparsefed leaderboard")
    assert "- Bulyan, unattacked: " in page, page
    heat_map(found, tmp_path / "map.png")


def test_a_file_with_a_goal_or_defense_that_cannot_be_is_one_line(tmp_path: Path):
    path = tmp_path / "board.toml"
    path.write_text(tomli_w.dumps(CONTENT | {"goals": ["fame"]}))
    with pytest.raises(sf.SpecError, match=r"goals.*expected chosen points.*found fame"):
        read_plan(path, kind=Leaderboard)
    path.write_text(tomli_w.dumps(CONTENT | {"defenses": {"x": {"defense": {"type": "RFA", "steps": 0}}}}))
    with pytest.raises(sf.SpecError, match="steps"):
        read_plan(path, kind=Leaderboard)

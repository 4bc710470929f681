"""What a frontier is asked with: what cannot work is one line before any run, what can is not misread."""

from pathlib import Path

import numpy as np
import pytest
import tomli_w
from small import finished
from test_audit import BASE as AUDITED
from test_frontier import BASE, CLIP, plan

import sparsefed as sf
from sparsefed import cli
from sparsefed.core.origin import origin_of
from sparsefed.federation.experiment import Experiment
from sparsefed.frontier.audit import _Work
from sparsefed.frontier.budget import Budget
from sparsefed.frontier.leaderboard import Leaderboard
from sparsefed.frontier.plan import read_plan
from sparsefed.frontier.search import frontier
from sparsefed.runs.record import find_record


def told(words: list[str], capsys: pytest.CaptureFixture) -> str:
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    error = capsys.readouterr().err
    assert stop.value.code == 2, error
    assert error.count("\n") == 1, error
    return error


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(
        tomli_w.dumps({"base": BASE, "defenses": {"clip": CLIP}, "goals": ["untargeted"], "seeds": [0]})
    )
    return path


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--vary", "seed=1,2"], "expected keys of the federation, found `seed`"),
        (["--vary", 'data.type="MNIST"'], "found `data.type`: points on different data cannot be compared"),
        (["--vary", "attack.method.epochs=1,2"], "found `attack.method.epochs`"),
        (["--vary", "clip.norm=1", "--vary", "clip.norm=2"], "expected each key once, found `clip.norm`"),
        (["--vary", "clip.norm=-1,-2"], "clip.norm"),
        (["--vary", "clip=1"], "clip"),
        (["--compromised", "0.001"], "0.1 % of the clients compromised: "),
        (["--set", "partition.clients=1", "--set", "cohort=1"], "of 1"),
    ],
)
def test_what_cannot_work_is_one_line_before_any_run(
    words: list[str], expected: str, toml: Path, capsys: pytest.CaptureFixture
) -> None:
    runs = toml.parent / "runs"
    assert expected in told(["frontier", str(toml), "--budget", "20", "--runs", str(runs), *words], capsys)
    assert not list(runs.glob("**/rounds.jsonl"))


@pytest.mark.parametrize("command", ["frontier", "tune"])
def test_runs_that_cannot_be_a_folder_are_one_line(
    command: str, toml: Path, capsys: pytest.CaptureFixture
) -> None:
    (toml.parent / "file").touch()
    words = [command, str(toml), "--budget", "20", "--runs", str(toml.parent / "file")]
    assert "cannot be written" in told(words, capsys)


def test_more_points_than_the_search_holds_out_are_refused_before_any_run(tmp_path: Path) -> None:
    attack = BASE["attack"] | {"objective": {"type": "Targeted", "points": 230}}
    asked = plan(base=BASE | {"attack": attack}, goals=["chosen points"])
    with pytest.raises(sf.SparseFedError, match="230"):
        finished(frontier(asked, tmp_path, Budget.of("30 runs")))
    assert not list(tmp_path.glob("**/rounds.jsonl"))


def test_a_grid_of_rounds_reports_each_with_its_own_and_twice_as_many(tmp_path: Path) -> None:
    asked = plan(defenses={"clip": CLIP}, vary={"rounds": [2, 3]}, only=["sign flip"])
    _, points = finished(frontier(asked, tmp_path, Budget.of("30 runs")))
    records = [find_record(spec.parent) for spec in tmp_path.glob("frontier/*/spec.json")]
    ran = {record.experiment.rounds for record in records if record.experiment.seed == 0}
    assert points
    assert ran == {n * point.settings["rounds"] for point in points for n in (1, 2)}


def test_the_share_of_compromised_clients_is_that_of_the_population(tmp_path: Path) -> None:
    users = np.repeat(np.arange(50), 4)
    x = np.random.default_rng(0).random((240, 6), dtype=np.float32)
    np.savez(
        tmp_path / "d.npz",
        x_train=x[:200],
        y_train=users % 2,
        x_test=x[200:],
        y_test=users[:40] % 2,
        users=users,
    )
    natural = BASE | {
        "data": {"type": "Npz", "path": str(tmp_path / "d.npz")},
        "partition": {"type": "Natural"},
        "attack": BASE["attack"] | {"presence": {"type": "Pool", "clients": 20}},
    }
    assert plan(base=natural).shares() == [0.4]
    each = BASE["attack"] | {"presence": {"type": "FixedPerRound", "count": 3}}
    assert plan(base=natural | {"attack": each}).shares() == [0.3]


def test_data_without_points_to_choose_are_searched_for_another_goal(tmp_path: Path) -> None:
    tokens = np.random.default_rng(0).integers(0, 9, (80, 5))
    np.savez(
        tmp_path / "d.npz", x_train=tokens[:60], y_train=tokens[:60], x_test=tokens[60:], y_test=tokens[60:]
    )
    words = {
        "rounds": 2,
        "cohort": 5,
        "data": {"type": "Npz", "path": str(tmp_path / "d.npz")},
        "partition": {"type": "IID", "clients": 10},
        "model": {"type": "LSTM"},
        "schedule": {"type": "Constant", "value": 0.1},
        "defense": {"type": "Mean"},
    }
    (tmp_path / "words.toml").write_text(tomli_w.dumps(words))
    assert read_plan(tmp_path / "words.toml").goals == ["untargeted"]
    assert read_plan(tmp_path / "words.toml", goals=["backdoor"]).goals == ["backdoor"]


def test_a_file_is_named_also_where_its_goals_are_the_default(toml: Path) -> None:
    toml.write_text(tomli_w.dumps(BASE | {"cohort": 5000}))
    with pytest.raises(sf.SpecError, match=r"mine.toml: `cohort`: expected at most"):
        finished(frontier(read_plan(toml), toml.parent, Budget.of("30 runs")))
    toml.write_text(tomli_w.dumps(BASE | {"data": {"type": "Npz", "path": "none.npz"}}))
    with pytest.raises(sf.DataError, match=r"mine.toml: `data`: .*none.npz: no such file"):
        read_plan(toml)


def test_attacks_of_a_goal_that_the_data_cannot_have_are_refused(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((80, 6), dtype=np.float32)
    y = np.arange(80) % 2
    np.savez(tmp_path / "d.npz", x_train=x[:60], y_train=y[:60], x_test=x[60:], y_test=y[60:])
    board = {
        "base": BASE | {"data": {"type": "Npz", "path": str(tmp_path / "d.npz")}},
        "defenses": {"clip": CLIP},
        "attacks": {"backdoor": {"mine": {"method": {"type": "PGD", "local_lr": 0.1}}}},
    }
    (tmp_path / "board.toml").write_text(tomli_w.dumps(board))
    with pytest.raises(sf.SpecError, match=r"chosen points, untargeted\), found backdoor"):
        read_plan(tmp_path / "board.toml", kind=Leaderboard)


def test_tune_takes_one_goal_of_a_file_with_several(toml: Path) -> None:
    two = read_plan(toml, goals=["untargeted", "chosen points"])
    assert two.with_goals(two.goals[:1]).goals == ["untargeted"]
    assert origin_of(two.with_goals(two.goals[:1])) == origin_of(two)


def test_an_audit_of_few_clients_compromises_at_least_one(tmp_path: Path) -> None:
    few = Experiment(**AUDITED | {"partition": {"type": "IID", "clients": 4}, "cohort": 4})
    assert _Work(few, tmp_path).assumed == 0.25
    with pytest.raises(sf.SpecError, match="at least 2 clients"):
        _Work(few.but(partition={"type": "IID", "clients": 1}, cohort=1), tmp_path)

"""The audit: what it takes to poison a model, from ordinary runs, in words, JSON and one page."""

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from small import finished

from sparsefed import cli
from sparsefed.attacks import Targeted
from sparsefed.core.errors import SpecError
from sparsefed.federation.experiment import Experiment
from sparsefed.frontier.audit import audit, usual
from sparsefed.frontier.budget import Budget
from sparsefed.frontier.findings import Audit
from sparsefed.frontier.points import FALLEN
from sparsefed.frontier.verdict import as_page, as_text, verdict

Command = Callable[..., tuple[int, str, str]]
BASE = {
    "rounds": 10,
    "cohort": 10,
    "data": {"type": "Digits"},
    "partition": {"type": "IID", "clients": 20},
    "model": {"type": "Linear"},
    "schedule": {"type": "Constant", "value": 0.5},
    "defense": {"type": "Mean", "momentum": 0.9},
    "attack": {
        "objective": {"type": "Targeted", "points": 10},
        "presence": {"type": "Pool", "clients": 2},
        "method": {"type": "PGD", "epochs": 2, "batch_size": 10, "local_lr": 0.5},
    },
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def found(runs: Path) -> Audit:
    return finished(audit(Experiment(**BASE), runs, Budget.of("20 runs")))[1]


def test_every_attack_is_tried_on_every_server(found: Audit) -> None:
    assert [server.name for server in found.servers] == ["no defense", "clip", "SparseFed"]
    tried = {(siege.server, siege.goal, siege.attack) for siege in found.sieges}
    assert len(tried) == len(found.sieges) == 3 * len({each[1:] for each in tried})
    assert {siege.goal for siege in found.sieges} == {"chosen points", "backdoor", "untargeted"}


def test_a_server_without_a_defense_learns_and_falls_to_long_updates_of_a_few_clients(found: Audit) -> None:
    assert found.servers[0].test_accuracy > 80
    needed = found.fewest("no defense", "chosen points").needed
    assert needed is not None
    assert needed <= 5


def test_what_is_needed_is_the_fewest_that_succeeded(found: Audit) -> None:
    for siege in found.sieges:
        succeeded = [m for m, success in siege.tried.items() if success > FALLEN]
        assert siege.needed == min(succeeded, default=None)
        assert set(siege.tried) <= {1, 2, 5, 10}


def test_an_audit_run_again_computes_nothing_and_says_the_same(found: Audit, runs: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in runs.glob("**/result.json")}
    again = finished(audit(Experiment(**BASE), runs, Budget.of("20 runs")))[1]
    assert again == found
    assert {path: path.stat().st_mtime_ns for path in runs.glob("**/result.json")} == before


def test_softmax_regression_gets_its_certificate_and_a_network_the_reason_why_not(found: Audit) -> None:
    assert 1 in found.certified.accuracy or found.certified.reason
    assert verdict(found)[-1].startswith(("Certified:", "Nothing is certified:"))


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.cells = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.cells += tag == "td"
        self.links += [value or "" for name, value in attrs if name in {"src", "href"}]


def test_the_page_stands_alone_and_escapes_what_it_was_given(found: Audit) -> None:
    text = as_page(found, "<script>alert(1)</script>", "sparsefed audit a.toml")
    tags = Tags()
    tags.feed(text)
    assert not tags.links
    assert tags.cells > len(found.sieges)
    assert "<script>" not in text
    for line in verdict(found):
        assert line.split(",")[0] in text


def test_text_and_json_say_the_same_numbers(found: Audit) -> None:
    tree = json.loads(json.dumps(found.to_dict()))
    text = as_text(found)
    for siege in tree["attacks"]:
        if siege["needed"] is not None:
            assert f"{siege['attack']} ({siege['goal']}): needs {siege['needed']} of 20 clients" in text


def test_a_model_and_an_archive_make_a_federation(tmp_path: Path) -> None:
    x, y = load_digits(return_X_y=True)
    archive = tmp_path / "mine.npz"
    np.savez(archive, x_train=x[:1000], y_train=y[:1000], x_test=x[1000:], y_test=y[1000:])
    experiment = Experiment(**usual("Linear", archive))
    assert experiment.partition.to_dict()["clients"] == 200
    assert experiment.cohort == 20
    owners = np.arange(1000) % 30
    np.savez(archive, x_train=x[:1000], y_train=y[:1000], x_test=x[1000:], y_test=y[1000:], users=owners)
    assert usual("Linear", archive)["partition"]["type"] == "Natural"


def test_keys_of_a_model_of_your_own_are_set_as_for_a_run(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    x, y = load_digits(return_X_y=True)
    np.savez("mine.npz", x_train=x[:90], y_train=y[:90], x_test=x[90:], y_test=y[90:])
    Path("nets.py").write_text(
        "from torch import nn\n"
        "def build(input_shape, classes, width):\n"
        "    return nn.Sequential(nn.Linear(64, width), nn.Linear(width, classes))\n"
    )
    words = ["audit", "nets:build", "mine.npz", "--budget", "1", "--set", "rounds=1"]
    code, _, said = command(*words, "--set", "model.width=8", "--set", "schedule.peak=1e-9")
    assert code == 2
    assert "expected a model that learns in 1 round" in said  # the model was built, with its width
    code, _, said = command(*words, "--set", "model.height=8")
    assert code == 2
    assert "height" in said


def test_a_budget_that_is_too_small_names_what_is_needed_and_found(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"budget: expected enough for .*\d+ runs.*found"):
        finished(audit(Experiment(**BASE), tmp_path, Budget.of("3 runs")))
    assert [str(Budget.of(text)) for text in ("1", "30 runs", "5m")] == ["1 run", "30 runs", "300 s"]


def test_a_model_that_does_not_learn_is_refused(tmp_path: Path) -> None:
    base = Experiment(**BASE | {"rounds": 1, "schedule": {"type": "Constant", "value": 1e-9}})
    with pytest.raises(SpecError, match="expected a model that learns in 1 round"):
        finished(audit(base, tmp_path, Budget.of("20 runs")))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["audit", "mine:build", "mine.csv"], "expected an .npz archive"),
        (["audit", "nothing.toml"], "nothing.toml"),
        (["audit", "nothing.toml", "--out", "page.pdf"], "expected a name that ends in .html"),
    ],
)
def test_bad_input_is_one_clear_line(words: list[str], expected: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1


def test_the_objective_of_the_experiment_is_kept() -> None:
    assert Experiment(**BASE).attack.objective == Targeted(points=10)  # type: ignore[union-attr]

"""The audit: what it takes to poison a model, from ordinary runs, in words, JSON and one page."""

import json
import re
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from small import finished

from sparsefed import cli
from sparsefed.attacks import Targeted
from sparsefed.core.errors import SpecError
from sparsefed.federation.experiment import Experiment, read_experiment
from sparsefed.federation.round import Federation
from sparsefed.frontier.audit import _Work, audit
from sparsefed.frontier.budget import Budget
from sparsefed.frontier.certified import Certified
from sparsefed.frontier.findings import Audit, Siege
from sparsefed.frontier.plan import for_search
from sparsefed.frontier.points import FALLEN
from sparsefed.frontier.usual import usual
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


def test_every_attack_is_tried_on_every_usable_server(found: Audit) -> None:
    assert [server.name for server in found.servers] == ["no defense", "clip", "SparseFed"]
    tried = {(siege.server, siege.goal, siege.attack) for siege in found.sieges}
    usable = sum(server.usable for server in found.servers)
    assert len(tried) == len(found.sieges) == usable * len({each[1:] for each in tried})
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
        assert line.split(",")[0].partition("`")[0] in text


def test_every_server_of_the_page_is_a_file_that_reads_as_its_experiment(
    found: Audit, tmp_path: Path
) -> None:
    shown = [unescape(text) for text in re.findall(r"<pre>(.*?)</pre>", _page(found), re.DOTALL)]
    assert len(shown) == len(found.servers)
    for text, server in zip(shown, found.servers, strict=True):
        (tmp_path / "server.toml").write_text(text)
        assert read_experiment(tmp_path / "server.toml") == server.experiment


def test_an_attack_of_two_goals_has_a_row_for_each(found: Audit) -> None:
    rows = re.findall(r"<td>(.*?)</td><td>equilibrium</td>\s*<td class=\"\w+\">(.*?)</td>", _page(found))
    bare = {s.goal: s for s in found.sieges if (s.server, s.attack) == ("no defense", "equilibrium")}
    assert [goal for goal, _ in rows] == list(bare)
    assert {goal: cell.startswith("not") for goal, cell in rows} == {
        g: s.needed is None for g, s in bare.items()
    }


def _page(found: Audit) -> str:
    return as_page(found, "mine", "sparsefed audit a.toml")


def test_a_server_that_is_not_usable_has_no_verdict(found: Audit) -> None:
    clip = found.servers[1]._replace(test_accuracy=33.3, tried=2, usable=False)
    sieges = [siege for siege in found.sieges if siege.server != "clip"]
    useless = found._replace(servers=[found.servers[0], clip, found.servers[2]], sieges=sieges, taken=None)
    for said in (as_text(useless), unescape(_page(useless))):
        assert "No usable setting found for the clip with this budget; allow more" in said
        assert "the best of 2 settings tried has 33.3 % test accuracy" in said
        assert "against a clip" not in said
    attacks = len({(siege.goal, siege.attack) for siege in sieges})
    assert _page(useless).count("not usable") == attacks * sum(not s.usable for s in useless.servers)
    assert [server["usable"] for server in useless.to_dict()["servers"]][:2] == [True, False]
    neither = useless._replace(
        servers=[*useless.servers[:2], useless.servers[2]._replace(usable=False)],
        sieges=[siege for siege in sieges if siege.server == "no defense"],
    )
    assert verdict(neither)[0].endswith(" without a defense.")


def test_a_server_far_below_the_one_without_a_defense_is_not_attacked(tmp_path: Path) -> None:
    work = _Work(Experiment(**BASE), tmp_path)
    bare = work.unattacked("no defense", Experiment(**BASE | {"attack": None}), 5, [])
    still = {"attack": None, "schedule": {"type": "Constant", "value": 1e-9}}
    assert bare.usable
    assert not work.unattacked("clip", Experiment(**BASE | still), 1, [bare]).usable
    assert not work.unattacked("clip", bare.experiment, 1, [bare._replace(test_accuracy=120.0)]).usable


@pytest.mark.parametrize(
    ("alone", "held", "said"),
    [
        (1, 5, "needs 1 of 20 clients (5 %) without a defense, and 5\xa0(25\xa0%) against a clip."),
        (5, 1, "needs 5 of 20 clients (25 %) without a defense, but only 1\xa0(5\xa0%) against a clip."),
        (5, 5, "needs 5 of 20 clients (25 %) without a defense, and as many against a clip."),
        (5, None, "needs 5 of 20 clients (25 %) without a defense, and fails against a clip with 10."),
        (
            None,
            5,
            "fails with 10 of 20 clients without a defense, but succeeds against a clip with 5\xa0(25\xa0%).",
        ),
    ],
)
def test_a_verdict_compares_the_two_numbers(
    found: Audit, alone: int | None, held: int | None, said: str
) -> None:
    sieges = [
        Siege(server, "untargeted", "noise", {10: 0.0} if needed is None else {needed: 99.0})
        for server, needed in (("no defense", alone), ("clip", held))
    ]
    pair = found._replace(
        servers=[server._replace(usable=server.name != "SparseFed") for server in found.servers],
        sieges=sieges,
    )
    assert verdict(pair)[0].endswith(said)


def test_text_names_what_counts_as_success_and_a_command_that_certifies(found: Audit) -> None:
    bare = found._replace(certified=Certified({}, "the clip adapts"))
    assert "An attack succeeds where more than 20 % of the targeted examples" in as_text(bare)
    assert "`sparsefed certify mine.toml --groups 10`." in as_text(bare, "mine.toml")
    assert "with the experiment in FILE, which `--out` writes" in as_text(bare)


def test_a_small_data_set_has_fewer_targeted_points_than_the_search_holds_out(tmp_path: Path) -> None:
    x, y = load_digits(return_X_y=True)
    archive = tmp_path / "mine.npz"
    np.savez(archive, x_train=x[:300], y_train=y[:300], x_test=x[300:500], y_test=y[300:500])
    experiment = Experiment(**usual("Linear", archive))
    points = _Work(experiment, tmp_path).attacks[0][0]
    attack = _Work(experiment, tmp_path).goals(0.1)[points].attacks["PGD"]
    assert attack.objective.points == 30
    assert Federation.of(for_search(experiment).but(attack=attack)).auxiliary is not None


def test_a_table_with_a_column_of_classes_makes_a_federation(tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("a,b,kind\n" + "".join(f"{i},{i % 7},{'xy'[i % 2]}\n" for i in range(100)))
    assert Experiment(**usual("Linear", table, "kind")).data.load().classes == 2


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
    words = ["audit", "nets:build", "mine.npz", "--budget", "14", "--set", "rounds=1"]
    code, _, said = command(*words, "--set", "model.width=8", "--set", "schedule.peak=1e-9")
    assert code == 2
    assert "expected a model that learns in 1 round" in said  # the model was built, with its width
    code, _, said = command(*words, "--set", "model.height=8")
    assert code == 2
    assert "height" in said


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_a_budget_that_is_too_small_names_the_number_to_type_before_any_run(
    tmp_path: Path, jobs: int
) -> None:
    with pytest.raises(SpecError, match=r"budget: expected at least 14 runs \(.*\), found 13 runs"):
        finished(audit(Experiment(**BASE), tmp_path, Budget.of("13 runs"), jobs))
    assert not list(tmp_path.glob("**/result.json"))
    assert [str(Budget.of(text)) for text in ("1", "30 runs", "5m")] == ["1 run", "30 runs", "300 s"]


def test_a_model_that_does_not_learn_is_refused(tmp_path: Path) -> None:
    base = Experiment(**BASE | {"rounds": 1, "schedule": {"type": "Constant", "value": 1e-9}})
    with pytest.raises(SpecError, match="expected a model that learns in 1 round"):
        finished(audit(base, tmp_path, Budget.of("20 runs")))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["audit", "mine:build", "mine.csv"], "expected an .npz archive"),
        (["audit", "mine:build", "mine.txt"], "or a .csv or .parquet table with `--label COLUMN`"),
        (["audit", "mine:build", "mine.npz", "--label", "y"], "found .npz with `--label y`"),
        (["audit", "nothing.toml"], "nothing.toml"),
        (
            ["audit", "mine.npz"],
            "give the model first, then the data: `sparsefed audit module:function mine.npz`",
        ),
        (["audit", "mine.npz", "a.b:build"], "then the data: `sparsefed audit a.b:build mine.npz`"),
        (["audit", "mine:build"], "then the data: `sparsefed audit mine:build data.npz`"),
        (["audit", "net.py", "mine.npz"], "then the data: `sparsefed audit net:FUNCTION mine.npz`"),
        (["audit", "mine.toml", "mine.npz"], "found an experiment and data"),
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

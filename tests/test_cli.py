"""The command line, run as a person runs it; every command of the README stands here."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import processes
import pytest
from test_spec import TEXT

import sparsefed


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "spec.toml").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    return tmp_path


@pytest.fixture
def call(here: Path, command: Any) -> Any:
    return command


def test_run_then_show_then_list(call: Any):
    code, out, err = call("run", "spec.toml", "--set", "defense.k=20", "--json")
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert result["outcome"] in {"trained", "no better than guessing"}
    code, out, _ = call("show", result["folder"])
    assert code == 0
    assert "SparseFed(k=20" in out
    assert "30 of 30" in out
    assert json.loads(call("show", result["folder"], "--json")[1])["result"]["digest"] == result["digest"]
    assert "SparseFed" in call("list")[1]
    assert [row["run"] for row in json.loads(call("list", "--json")[1])] == [result["folder"]]


def test_running_the_same_spec_again_shows_the_same_result(call: Any):
    first = json.loads(call("run", "spec.toml", "--json")[1])
    assert json.loads(call("run", "spec.toml", "--json")[1]) == first


@pytest.mark.parametrize(
    "family", ["attacks", "clients", "clips", "data", "defenses", "models", "partitions"]
)
def test_list_names_what_a_spec_can_use(call: Any, family: str):
    code, out, _ = call("list", family, "--json")
    rows = json.loads(out)
    assert code == 0
    assert rows
    assert all(row["name"] and row["meaning"] for row in rows)


def test_data_lists_the_data_sets(call: Any):
    code, out, _ = call("data", "--json")
    assert code == 0
    assert {"digits", "mnist", "cifar10"} <= {row["name"].lower() for row in json.loads(out)}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("run", "none.toml"), "none.toml: no such file"),
        (("run", "spec.toml", "--set", "defense.q=1"), "--set defense.q=1: `defense.q`: unknown key"),
        (
            ("run", "spec.toml", "--set", "cohort=51"),
            "--set cohort=51: `cohort`: expected at most the 50 clients that there are, found 51",
        ),
        (
            ("run", "spec.toml", "--set", "defense.k=100000"),
            "--set defense.k=100000: `defense.k`: expected at most the model's 650 parameters, found 100000",
        ),
        (("run", "spec.toml", "--set", "partition.clients=5000"), "5000"),
        (("run", "spec.toml", "--set", "data={type='MNIST', folder='nowhere'}"), "nowhere"),
        (("run", "spec.toml", "--runs", "spec.toml"), "cannot be written: Not a directory"),
        (("show", "nowhere"), "nowhere: no such run"),
        (("list", "wishes"), "list wishes: unknown"),
        (("dance",), "dance"),
        (("run", "spec.toml", "--fast"), "--fast"),
        (("data", "fetch", "nothing"), "nothing"),
        (("run",), "SPEC (see `sparsefed run --help`): expected a value, found none"),
        (("choose-k", "spec.toml"), "--max-loss (see `sparsefed choose-k --help`): expected a value"),
        (("run", "spec.toml", "--threads", "many"), "--threads: expected a whole number, found 'many'"),
        (("frontier", "f.toml", "--compromised", "1.5"), "--compromised: expected a share above 0"),
        (("table", "t.toml", "--jobs", "1.6"), "--jobs: expected a whole number, found '1.6'"),
        (("certify", "a.toml", "--groups", "2", "--groups", "2.5"), "--groups: expected a whole number"),
        (
            ("certify", "a.toml", "--compromised", "-1"),
            "--compromised: expected a whole number of at least 0",
        ),
        (("tune", "spec.toml", "--max-loss", "-1"), "--max-loss: expected 0 to 100 points of test accuracy"),
        (("tune", "spec.toml", "--compromised", "5"), "--compromised: expected a share above 0 and below 1"),
        (
            ("run", "spec.toml", "--set", "partition.type=Dirichlet"),
            "expected a whole number of at least 1; Dirichlet also needs alpha",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(call: Any, words: tuple[str, ...], complaint: str):
    code, out, err = call(*words)
    assert code == 2
    assert out == ""
    assert complaint in err
    assert err.startswith("sparsefed: ")
    assert err.count("\n") == 1


def test_help_keeps_paragraphs_and_examples_apart(call: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "200")
    out = call("certify", "--help")[1]
    examples = [line for line in out.splitlines() if line.startswith("Example")]
    assert len(examples) == 3
    assert all(line.count("Example") == 1 for line in examples)


def test_ctrl_c_saves_and_says_how_to_go_on(here: Path):
    with processes.sparsefed("run", "spec.toml", "--set", "rounds=100000", folder=here) as process:
        deadline = time.monotonic() + 120
        while not list(here.glob("runs/*/state.safetensors")) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1].startswith("sparsefed: stopped; saved in runs")
    assert "Traceback" not in err
    rows = next(here.glob("runs/*/rounds.jsonl")).read_text().splitlines()
    assert len(rows) > 1


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("run", "--help")])
def test_help_waits_for_nothing_that_computes(words: tuple[str, ...]):
    code = f"import sys; from sparsefed.cli import app; app({list(words)}, result_action='return_value')"
    loaded = subprocess.check_output(
        [sys.executable, "-c", f"{code}; print('loaded', *sys.modules)"], text=True
    ).split("loaded ")[1]
    assert not {"torch", "numpy", "pydantic", "matplotlib"} & set(loaded.split())


def test_every_public_name_can_be_imported():
    assert all(hasattr(sparsefed, name) for name in sparsefed.__all__)
    assert set(sparsefed.__all__) <= set(dir(sparsefed))


def test_the_version_is_the_packages(call: Any):
    assert call("--version")[1].strip() == sparsefed.__version__


TABLE = """
title = "t"
seeds = [3]
metrics = ["test_accuracy"]
[base]
rounds = 2
cohort = 5
data = { type = "Digits" }
partition = { type = "OneClass", clients = 50 }
model = { type = "Linear" }
schedule = { type = "Constant", value = 0.1 }
[rows.good]
defense = { type = "SparseFed", k = 10 }
[rows.bad]
defense = { type = "SparseFed", k = 99999 }
"""

WITH_PICTURES = [
    ("certify", "spec.toml"),
    ("choose-k", "spec.toml", "--max-loss", "0.2"),
    ("table", "t.toml"),
]


@pytest.mark.parametrize("words", WITH_PICTURES, ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("picture", "complaint"),
    [
        ("nowhere/x.png", "expected a file in a folder that is there, found no folder nowhere"),
        (".", "expected a file, found the folder ."),
        ("x.xyz", "expected a name that ends in .png, .svg or .pdf, found x.xyz"),
        ("noext", "expected a name that ends in .png, .svg or .pdf, found noext"),
    ],
)
def test_a_picture_that_cannot_be_is_refused_before_anything_runs(
    call: Any, here: Path, words: tuple[str, ...], picture: str, complaint: str
):
    (here / "t.toml").write_text(TABLE)
    expected = f"sparsefed: --plot: {complaint}\n"
    assert call(*words, "--plot", picture) == (2, "", expected)
    assert sorted(path.name for path in here.iterdir()) == ["spec.toml", "t.toml"]


@pytest.mark.parametrize(("out", "found"), [("nowhere/x.md", "no folder nowhere"), (".", "the folder .")])
def test_an_out_that_cannot_be_is_refused_before_anything_runs(call: Any, here: Path, out: str, found: str):
    (here / "t.toml").write_text(TABLE)
    code, printed, err = call("table", "t.toml", "--out", out)
    assert (code, printed) == (2, "")
    assert err.startswith("sparsefed: --out: expected a file")
    assert f"found {found}" in err
    assert not (here / "runs").exists()


@pytest.mark.parametrize("words", WITH_PICTURES, ids=lambda words: words[0])
def test_a_picture_that_turns_out_unwritable_costs_nothing_that_was_found(
    call: Any, here: Path, words: tuple[str, ...]
):
    (here / "t.toml").write_text(TABLE.replace("99999", "9"))
    (here / "full.png").symlink_to("/dev/full")
    code, printed, err = call(*words, "--plot", "full.png")
    assert code == 2
    assert len(printed.splitlines()) > 3
    complaint = err.splitlines()[-1]
    assert complaint.startswith("sparsefed: full.png: cannot be written: No space left on device")


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_table_is_printed_written_and_drawn(call: Any, here: Path, suffix: str):
    (here / "t.toml").write_text(TABLE.replace("99999", "9"))
    (here / "pages").mkdir()
    code, printed, err = call("table", "t.toml", "--out", "pages/t.md", "--plot", f"t.{suffix}")
    assert code == 0
    assert any(line.startswith("run 2 of 2, 0:00:00 left: row `bad`, seed 3: ") for line in err.splitlines())
    assert err.splitlines()[-2:] == ["written: pages/t.md", f"picture: t.{suffix}"]
    picture = f"![The metrics of the first seed](../t.{suffix})\n\n"
    written = (here / "pages" / "t.md").read_text()
    assert picture in written
    assert printed.partition(", by")[0] == written.replace(picture, "").partition(", by")[0]
    assert (here / f"t.{suffix}").stat().st_size > 1000


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_cell_that_fails_is_named_beside_the_others_results(call: Any, here: Path, jobs: str):
    (here / "t.toml").write_text(TABLE)
    code, printed, err = call("table", "t.toml", "--jobs", jobs)
    assert code == 2
    assert "| good |" in printed
    assert "- row `bad`, seed 3: \\`rows.bad.defense.k\\`: expected at most" in printed
    complaint = "`rows.bad.defense.k`: expected at most the model's 650 parameters, found 99999"
    assert err.splitlines()[-1] == f"sparsefed: t.toml: row `bad`, seed 3: {complaint}"


def test_only_the_cells_that_are_asked_for_run_and_the_others_are_shown_as_they_are(call: Any, here: Path):
    (here / "t.toml").write_text(TABLE.replace("99999", "9"))
    code, printed, _ = call("table", "t.toml", "--only", "good")
    assert code == 0
    assert re.search(r"\| good \| .* \| 1 \| \w", printed)
    assert re.search(r"\| bad \| .* \| 0 \| not run \|", printed)
    printed = call("table", "t.toml", "--only", "bad", "--only", "seed 3")[1]
    assert "not run" not in printed
    assert call("table", "t.toml", "--only", "worse")[2].splitlines()[-1] == (
        "sparsefed: t.toml: --only: expected words of a cell such as row `good`, seed 3, found worse"
    )


def test_json_has_the_value_and_the_run_of_every_seed_in_the_order_of_the_seeds(call: Any, here: Path):
    (here / "t.toml").write_text(TABLE.replace("99999", "9").replace("[3]", "[3, 4, 5]"))
    call("table", "t.toml", "--only", "seed 3")
    words = ("--only", "good", "--only", "seed 5", "--json")
    (good,) = (line for line in json.loads(call("table", "t.toml", *words)[1]) if line["row"] == "good")
    assert [value is None for value in good["test_accuracy"]["values"]] == [False, True, False]
    found = [run and json.loads((here / run / "spec.json").read_text()) for run in good["run"]]
    assert [run and run["experiment"]["seed"] for run in found] == [3, None, 5]


def test_an_empty_folder_of_runs_is_no_mistake(call: Any):
    assert call("list") == (0, "no runs in runs yet; `sparsefed run FILE` makes one\n", "")
    assert call("list", "--json") == (0, "[]\n", "")


def test_runs_are_told_apart_by_what_differs(call: Any, here: Path):
    for k in ("20", "40"):
        call("run", "spec.toml", "--set", f"defense.k={k}", "--json")
    rows = json.loads(call("list", "--json")[1])
    assert sorted(row["settings"]["defense.k"] for row in rows) == ["20", "40"]
    (here / "runs" / "more").mkdir()
    Path(rows[0]["run"]).rename(here / "runs" / "more" / "one")
    assert "1 more in runs/more: `sparsefed list --runs runs/more`" in call("list")[1]
    (here / "runs" / "more" / "one").rename(rows[0]["run"])
    digests = [Path(row["run"]).name for row in rows]
    code, out, _ = call("compare", *(digest[:6] for digest in digests), "--plot", "two.png")
    assert code == 0
    assert {"defense.k", "test_accuracy", digests[0][:8], digests[1][:8]} <= set(out.split())
    assert (here / "two.png").stat().st_size > 1000
    (here / "runs" / "demo").mkdir()
    code, out, err = call("compare", *sorted(f"runs/{path.name}" for path in (here / "runs").iterdir()))
    assert (code, "left out, not runs: runs/more" in err) == (0, True)
    assert {digests[0][:8], digests[1][:8]} <= set(out.split())
    assert call("show", "runs")[2].startswith("sparsefed: runs: no such run; expected one of the runs in it")
    lines = call("show", digests[0][:6], "--csv")[1].splitlines()
    assert lines[0].startswith("round,lr,")
    assert len(lines) == 31


def test_an_attacker_that_is_nobody_is_no_attack(call: Any):
    attack = (
        "attack={objective={type='Targeted',points=5},presence={type='Nobody'},method={type='PGD',norm=1.0}}"
    )
    call("run", "spec.toml", "--set", attack, "--json")
    assert [row["attack"] for row in json.loads(call("list", "--json")[1])] == ["none"]


def test_a_table_tells_the_command_that_made_it_and_each_cell_s_run(call: Any, here: Path):
    (here / "my table.toml").write_text(TABLE.replace("99999", "9"))
    words = ("table", "my table.toml", "--threads", "1", "--out", "t.md", "--plot", "bild (1) x.png")
    assert "by `sparsefed table 'my table.toml' --threads 1 --out t.md" in call(*words)[1]
    assert "](bild%20%281%29%20x.png)" in (here / "t.md").read_text()
    lines = json.loads(call("table", "my table.toml", "--json")[1])
    assert all((here / run / "result.json").exists() for line in lines for run in line["run"])
    assert call("table", "my table.toml", "--csv")[1].startswith(
        "row,column,seed,test_accuracy,outcome,run\n"
    )

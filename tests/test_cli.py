"""The command line, run as a person runs it; every command of the README stands here."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from test_spec import TEXT

from sparsefed import cli


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "spec.toml").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    return tmp_path


@pytest.fixture
def call(here: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def called(*words: str) -> tuple[int, str, str]:
        try:
            cli.main(words)
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        found = capsys.readouterr()
        return code, found.out, found.err

    return called


def test_run_then_show_then_list(call: Any):
    code, out, err = call("run", "spec.toml", "--set", "defense.k=20", "--json")
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert result["outcome"] in {"trained", "did not converge"}
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
        (("run", "spec.toml", "--set", "defense.q=1"), "spec.toml: `defense.q`: unknown key"),
        (("run", "spec.toml", "--set", "cohort=51"), "a cohort of 51 needs as many clients, found 50"),
        (
            ("run", "spec.toml", "--set", "defense.k=100000"),
            "needs a model of at least k parameters, got 650",
        ),
        (("run", "spec.toml", "--set", "partition.clients=5000"), "5000"),
        (("run", "spec.toml", "--set", "data={type='MNIST', folder='nowhere'}"), "nowhere"),
        (("run", "spec.toml", "--runs", "spec.toml"), "cannot be written: Not a directory"),
        (("show", "nowhere"), "nowhere: no such run"),
        (("list", "wishes"), "list wishes: unknown"),
        (("dance",), "dance"),
        (("run", "spec.toml", "--fast"), "--fast"),
        (("data", "fetch", "nothing"), "nothing"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(call: Any, words: tuple[str, ...], complaint: str):
    code, out, err = call(*words)
    assert code == 2
    assert out == ""
    assert complaint in err
    assert err.startswith("sparsefed: ")
    assert err.count("\n") == 1


def test_ctrl_c_saves_and_says_how_to_go_on(here: Path):
    command = [sys.executable, "-c", "from sparsefed.cli import main; main()"]
    words = ["run", "spec.toml", "--set", "rounds=100000"]
    process = subprocess.Popen([*command, *words], stderr=subprocess.PIPE, text=True, env={**os.environ})
    deadline = time.monotonic() + 60
    while not list(here.glob("runs/*/state.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.startswith("sparsefed: stopped; saved in runs")
    assert err.count("\n") == 1
    rows = next(here.glob("runs/*/rounds.jsonl")).read_text().splitlines()
    assert len(rows) > 1


def test_the_version_is_the_packages(call: Any):
    import sparsefed

    assert call("--version")[1].strip() == sparsefed.__version__

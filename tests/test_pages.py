"""What the pages show works as it stands, and does what they say."""

import re
import shutil
import sys
from pathlib import Path

import pytest

from sparsefed import cli

ROOT = Path(__file__).parents[1]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_the_readme_s_python_runs(here: Path, capsys: pytest.CaptureFixture[str]):
    simulation, rule = blocks("README.md", "python")
    exec(simulation, {})
    test, attack = map(float, capsys.readouterr().out.split())
    assert test > 60
    assert attack < 20
    exec(rule, found := {})
    assert int(found["delta"].count_nonzero()) == 50


def test_a_model_of_one_s_own_is_asked_how_poisonable_it_is(here: Path, capsys: pytest.CaptureFixture[str]):
    data, model, server = blocks("docs/own.md", "python")
    exec(data, {})
    (here / "mine.py").write_text(model)
    (here / "mine.toml").write_text(blocks("docs/own.md", "toml")[0].replace("rounds = 100", "rounds = 5"))
    with pytest.raises(SystemExit, match="0"):
        cli.main(["table", "mine.toml"])
    assert capsys.readouterr().out.count("| chosen points |") == 3
    sys.modules.pop("mine")
    exec(server, found := {})
    assert found["state"].error.shape == found["params"].shape
    assert capsys.readouterr().out.count("'support': 20.0") == 3

"""Published lines run again: the same numbers, or the difference is told."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import published

TABLE = """
title = "Two clips | one rule"
seeds = [0, 1]
metrics = ["test_accuracy", "seconds_honest"]
[base]
rounds = 3
cohort = 5
data = { type = "Digits" }
partition = { type = "OneClass", clients = 50 }
model = { type = "Linear" }
schedule = { type = "Constant", value = 0.5 }
defense = { type = "Mean" }
[columns."a|b"]
[columns.c]
cohort = 6
[rows."L = 1 | short"]
clip = { type = "FixedClip", norm = 1.0 }
[rows.long]
"""


@pytest.fixture
def page(
    command: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.toml").write_text(TABLE)
    code, _, err = command("table", "t.toml", "--set", "rounds=4", "--out", "t.md")
    assert code == 0, err
    return tmp_path / "t.md"


def test_what_was_published_is_found_again(page: Path, capsys: pytest.CaptureFixture[str]):
    assert published.main([str(page), "--seed", "0"]) == 0
    told = capsys.readouterr().out
    assert told.count("the same") == 3 * 3  # accuracy, n and outcome of three lines; seconds are left out
    assert "honest work" not in told


def test_another_number_than_the_published_one_is_told(page: Path, capsys: pytest.CaptureFixture[str]):
    page.write_text(page.read_text().replace("± ", "± 9"))
    assert published.main([str(page), "--lines", "1", "--seed", "0"]) == 1
    assert "found " in capsys.readouterr().out


def test_a_command_in_a_block_of_its_own_is_found_and_other_tables_are_not_read(
    page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = [line for line in page.read_text().splitlines() if line.startswith("|")]
    command = "```bash\nsparsefed table t.toml --set rounds=4\n```"
    page.write_text(
        "\n".join(
            ["# A page", "", *table, "", command, "", "| round | attack |", "| --- | --- |", "| 1 | 2 |"]
        )
    )
    assert published.main([str(page), "--lines", "1", "--seed", "0"]) == 0
    assert "the same" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["no table", "| a | b |\n| --- | --- |\n| 1 | 2 |"])
def test_a_page_without_a_table_of_runs_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    with pytest.raises(published.SpecError, match="column `n`, found"):
        published.lines(text)

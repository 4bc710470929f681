"""`sparsefed run --verify`."""

import json
from pathlib import Path

import pytest
from test_spec import TEXT

from sparsefed.cli import main


def test_a_verified_run_has_the_result_of_the_plain_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file, results = tmp_path / "spec.toml", []
    file.write_text(TEXT)
    options = ["--runs", str(tmp_path), "--json", "--set", "rounds=1", "--set", "cohort=3"]
    options += ["--set", "aggregation.type=Pine", "--set", "without=['attack']"]
    for words in ([], ["--verify"]):
        with pytest.raises(SystemExit) as ended:
            main(["run", str(file), *options, *words])
        assert ended.value.code == 0
        results.append(json.loads(capsys.readouterr().out))
    plain, verified = results
    assert plain["folder"] != verified["folder"]
    changing = {"folder", "digest", "environment", "experiment"}
    same = [key for key in plain if key not in changing and not key.startswith("seconds")]
    assert [plain[key] for key in same] == [verified[key] for key in same]
    assert plain["bytes_up_per_client"] > 8 * 650


def test_without_secure_aggregation_there_is_nothing_to_verify(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "spec.toml"
    file.write_text(TEXT)
    with pytest.raises(SystemExit) as ended:
        main(["run", str(file), "--verify", "--runs", str(tmp_path)])
    assert ended.value.code == 2
    assert "such as Pine" in capsys.readouterr().err

"""Runs side by side are the same runs, and can be stopped like a single one."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing import active_children
from pathlib import Path

import pytest
import small

import sparsefed as sf
from sparsefed.runs.jobs import side_by_side

TABLE = """
title = "Two rules"
seeds = [0, 1]
metrics = ["test_accuracy"]
[base]
rounds = {rounds}
cohort = 10
data = {{ type = "Digits" }}
partition = {{ type = "OneClass", clients = 100 }}
model = {{ type = "Linear" }}
schedule = {{ type = "Constant", value = 0.1 }}
[rows.mean]
defense = {{ type = "Mean" }}
[rows.SparseFed]
defense = {{ type = "SparseFed", k = 50 }}
"""


def test_runs_side_by_side_end_like_runs_one_by_one(tmp_path: Path):
    experiments = {f"seed {seed}": small.experiment(seed=seed) for seed in range(3)}
    found = dict(side_by_side(experiments.items(), tmp_path / "jobs", jobs=2, threads=1))
    for name, experiment in experiments.items():
        alone = sf.simulate(experiment, tmp_path / "alone")
        assert _untimed(found[name]) == _untimed(alone)


def test_an_error_in_one_run_is_raised_here_with_its_name(tmp_path: Path):
    bad = small.experiment(cohort=101)
    with pytest.raises(sf.SpecError, match=r"^large: a cohort of 101 needs as many clients"):
        list(side_by_side([("large", bad), ("right", small.experiment())], tmp_path, jobs=2, threads=1))


@pytest.mark.parametrize("seeds", ["[0, 1]", "[0]"], ids=["all busy", "one process idle"])
def test_a_table_of_two_jobs_that_was_stopped_goes_on_where_it_was(tmp_path: Path, seeds: str):
    text = TABLE.format(rounds=100_000).replace("[0, 1]", seeds)
    if seeds == "[0]":
        text = text.partition("[rows.SparseFed]")[0]
    busy = min(2, text.count("[rows") * len(json.loads(seeds)))
    process = start(tmp_path, text)
    wait_for(lambda: len(list(tmp_path.glob("runs/*/state.safetensors"))) == busy)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.startswith("sparsefed: stopped; saved in runs")
    assert err.count("\n") == 1
    lengths = [len(rows.read_text().splitlines()) for rows in tmp_path.glob("runs/*/rounds.jsonl")]
    assert len(lengths) == busy  # nothing that was waiting was begun
    assert min(lengths) > 1


def test_a_run_that_fails_stops_the_one_beside_it_which_saves(tmp_path: Path):
    long, bad = small.experiment(rounds=100_000), small.experiment(cohort=101)

    def both() -> Iterator[tuple[str, sf.Experiment]]:
        yield "long", long
        wait_for((tmp_path / long.digest() / "state.safetensors").exists)
        yield "bad", bad

    with pytest.raises(sf.SpecError, match="a cohort of 101 needs as many clients"):
        list(side_by_side(both(), tmp_path, jobs=2, threads=1))
    assert len((tmp_path / long.digest() / "rounds.jsonl").read_text().splitlines()) > 1
    assert not active_children()


def test_equal_cells_are_one_run(tmp_path: Path):
    process = start(tmp_path, TABLE.format(rounds=20) + "[rows.again]\ndefense = { type = 'Mean' }")
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert out.count("| 2 |") == 3
    assert len(list(tmp_path.glob("runs/*"))) == 4


def test_a_table_of_two_jobs_prints_what_a_table_of_one_prints(tmp_path: Path):
    (tmp_path / "table.toml").write_text(TABLE.format(rounds=20))
    command = [sys.executable, "-m", "sparsefed", "table", "table.toml", "--json", "--threads", "1"]
    one, two = (
        json.loads(subprocess.check_output([*command, "--runs", jobs, "--jobs", jobs], cwd=tmp_path))
        for jobs in ("1", "2")
    )
    assert one == two
    assert [line["n"] for line in one] == [2, 2]


def start(folder: Path, table: str) -> "subprocess.Popen[str]":
    """`sparsefed table` of two jobs, in a folder."""
    (folder / "table.toml").write_text(table)
    command = [sys.executable, "-m", "sparsefed", "table", "table.toml"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*command, "--jobs", "2"], cwd=folder, env={**os.environ}, **pipes)


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.05)


def _untimed(result: dict) -> dict:
    return {key: value for key, value in result.items() if not key.startswith("seconds")}

"""Parallel runs are the same runs, and can be stopped like a single one."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import processes
import pytest
import small

import sparsefed as sf
from sparsefed.report.markdown import table_page
from sparsefed.runs.cells import run_cells
from sparsefed.runs.jobs import side_by_side
from sparsefed.runs.tables import read_table, summary

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


class Failing(sf.Mean):
    """A rule of the user's own that fails, in one of three ways."""

    how: str

    def step(self, updates: Any, state: Any, lr: float = 1.0) -> Any:
        if self.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "refused":
            raise sf.UpdateError("no such round")
        raise ZeroDivisionError("of its own")


def test_runs_that_fail_do_not_stop_the_others(tmp_path: Path):
    experiments = [
        (how, small.experiment(defense=Failing(how=how))) for how in ("killed", "broken", "refused")
    ]
    experiments += [(f"right {seed}", small.experiment(seed=seed, rounds=3)) for seed in range(3)]
    found = dict(side_by_side(experiments, tmp_path, jobs=2, threads=1))
    assert "its process was killed" in str(found["killed"])
    assert re.search(r"ZeroDivisionError in test_jobs.py, line \d+: of its own", str(found["broken"]))
    assert str(found["refused"]) == "`defense`: no such round"
    assert [found[f"right {seed}"]["rounds"] for seed in range(2)] == [3, 3]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_table_finishes_its_other_cells_and_says_which_failed_and_why(tmp_path: Path, jobs: int):
    text = TABLE.format(rounds=3) + "[rows.large]\ncohort = 101\ndefense = { type = 'Mean' }"
    (tmp_path / "table.toml").write_text(text)
    table = read_table(tmp_path / "table.toml")
    results = list(run_cells(table.cells(), tmp_path / "runs", jobs=jobs))
    lines = summary(table, results)
    assert [(line["row"], line["n"], list(line["failed"])) for line in lines] == [
        ("mean", 2, []),
        ("SparseFed", 2, []),
        ("large", 0, [0, 1]),
    ]
    told = table_page(table, lines, {}, "")
    assert "row `large`, seed 0" in told
    assert told.count("expected at most the 100 clients that there are, found 101") == 1


@pytest.mark.parametrize("seeds", ["[0, 1]", "[0]"], ids=["all busy", "one process idle"])
def test_a_table_of_two_jobs_that_was_stopped_goes_on_where_it_was(tmp_path: Path, seeds: str):
    text = TABLE.format(rounds=100_000).replace("[0, 1]", seeds)
    if seeds == "[0]":
        text = text.partition("[rows.SparseFed]")[0]
    busy = min(2, text.count("[rows") * len(json.loads(seeds)))
    with start(tmp_path, text) as process:
        wait_for(lambda: len(list(tmp_path.glob("runs/*/state.safetensors"))) == busy)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1].startswith("sparsefed: stopped; saved in runs")
    assert "Traceback" not in err
    lengths = [len(rows.read_text().splitlines()) for rows in tmp_path.glob("runs/*/rounds.jsonl")]
    assert len(lengths) == busy  # nothing that was waiting was begun
    assert min(lengths) > 1


def test_when_the_caller_stops_listening_the_runs_save(tmp_path: Path):
    long, bad = small.experiment(rounds=100_000), small.experiment(cohort=101)

    def both() -> Iterator[tuple[str, sf.Experiment]]:
        yield "long", long
        wait_for((tmp_path / long.digest() / "state.safetensors").exists)
        yield "bad", bad

    ended = side_by_side(both(), tmp_path, jobs=2, threads=1)
    assert next(ended)[0] == "bad"
    ended.close()
    assert len((tmp_path / long.digest() / "rounds.jsonl").read_text().splitlines()) > 1
    assert not active_children()


def test_equal_cells_are_one_run(tmp_path: Path):
    with start(tmp_path, TABLE.format(rounds=20) + "[rows.again]\ndefense = { type = 'Mean' }") as process:
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
    for line in (*one, *two):
        line["run"] = [Path(run).name for run in line["run"]]
    assert one == two
    assert [line["n"] for line in one] == [2, 2]


def start(folder: Path, table: str) -> "AbstractContextManager[subprocess.Popen[str]]":
    """`sparsefed table` of two jobs, in a folder."""
    (folder / "table.toml").write_text(table)
    return processes.sparsefed("table", "table.toml", "--jobs", "2", folder=folder)


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.05)


def _untimed(result: dict) -> dict:
    return {key: value for key, value in result.items() if not key.startswith("seconds")}

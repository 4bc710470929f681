"""Runs on a local Dask cluster of two workers, one of which is killed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import safetensors.torch
import small
import torch

import sparsefed as sf
from sparsefed.core.places import look_beside
from sparsefed.runs.cluster import on_cluster
from sparsefed.runs.record import Record

distributed = pytest.importorskip("distributed", reason="needs Dask: make test-deploy")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Dask leaves sockets to the collector


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as found:
        yield found


def test_runs_come_back_and_a_killed_worker_loses_what_was_not_saved(cluster: Any, tmp_path: Path) -> None:
    rounds = 60
    cells = [(f"seed {seed}", small.experiment(rounds=rounds, seed=seed)) for seed in (1, 2)]
    records = [Record(tmp_path, experiment) for _, experiment in cells]
    found: dict[str, Any] = {}
    thread = Thread(target=lambda: found.update(on_cluster(cells, tmp_path, cluster.scheduler_address)))
    thread.start()
    while not all(record.has_rounds for record in records):
        time.sleep(0.05)
    saved = [record.rows() for record in records]
    with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
        victim = next(iter(client.run(os.getpid).values()))
    os.kill(victim, signal.SIGKILL)
    thread.join()
    assert all(found[name]["rounds"] == rounds for name, _ in cells), found
    for record, before, (_, experiment) in zip(records, saved, cells, strict=True):
        after = record.rows()
        assert after[: len(before)] == before  # to the microseconds: not computed again
        assert [row["round"] for row in after] == list(range(1, rounds + 1))
        assert after[-1]["loss"] == pytest.approx(sf.simulate(experiment)["loss"], rel=1e-3)


def test_a_caller_that_stops_leaves_runs_that_resume(cluster: Any, tmp_path: Path) -> None:
    cells = [("long", small.experiment(rounds=100_000)), ("short", small.experiment(rounds=3))]
    ended = on_cluster(cells, tmp_path, cluster.scheduler_address)
    name, outcome = next(ended)
    assert (name, outcome["rounds"]) == ("short", 3)
    ended.close()
    record = Record(tmp_path, cells[0][1])
    done = len(record.rows())
    assert 0 < done < 100_000
    time.sleep(1)
    assert len(record.rows()) == done


def test_parts_of_your_own_and_errors_reach_the_caller(cluster: Any, tmp_path: Path) -> None:
    (tmp_path / "mine_there.py").write_text(
        "import sparsefed as sf\nclass M(sf.Mean):\n    def aggregate(self, updates):\n        return 1 / 0\n"
    )
    look_beside(tmp_path / "table.toml")
    experiment = small.experiment(defense={"type": "mine_there:M"}, rounds=2)
    ((_, outcome),) = on_cluster([("own", experiment)], tmp_path / "runs", cluster.scheduler_address)
    assert isinstance(outcome, sf.RunError)
    assert str(outcome) == "ZeroDivisionError in mine_there.py, line 4: division by zero"


def test_a_table_runs_on_a_cluster(cluster: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from sparsefed import cli

    example = (Path(__file__).parents[1] / "examples" / "digits.toml").read_text()
    base = re.sub(r"^\[", "[base.", re.sub("rounds = .*", "rounds = 3", example), flags=re.M)
    table = (
        f'title = "t"\nseeds = [0, 1]\nmetrics = ["loss"]\n[base]\n{base}\n[rows.a]\n[rows.b]\ncohort = 9\n'
    )
    (tmp_path / "table.toml").write_text(table)
    words = ["table", str(tmp_path / "table.toml"), "--runs", str(tmp_path / "runs"), "--json"]
    with pytest.raises(SystemExit) as end:
        cli.main([*words, "--cluster", cluster.scheduler_address])
    assert end.value.code in (None, 0)
    assert [len(line["run"]) for line in json.loads(capsys.readouterr().out)] == [2, 2]


GRID = """
seeds = [0]
compromised = [0.1]
vary = { "clip.norm" = [0.1, 1.0] }

[base]
rounds = 30
cohort = 10
data = { type = "Digits" }
partition = { type = "IID", clients = 50 }
model = { type = "Linear" }
schedule = { type = "Constant", value = 0.1 }
defense = { type = "Mean" }

[base.attack]
objective = { type = "Targeted", points = 10 }
presence = { type = "Pool", clients = 5 }
method = { type = "PGD", local_lr = 0.1 }

[defenses.clip]
clip = { type = "FixedClip", norm = 1.0 }

[defenses.SparseFed]
clip = { type = "FixedClip", norm = 1.0 }
defense = { type = "SparseFed", k = 5 }
"""


@contextmanager
def closing_with(command: "subprocess.Popen[str]") -> Iterator[None]:
    try:
        yield
    finally:
        command.kill()


def states(runs: Path) -> dict[str, dict[str, torch.Tensor]]:
    return {
        str(path.relative_to(runs)): safetensors.torch.load_file(path)
        for path in runs.glob("**/state.safetensors")
    }


@pytest.mark.parametrize("words", [["frontier"], ["tune", "--max-loss", "90"]], ids=["frontier", "tune"])
def test_a_search_on_a_cluster_that_loses_a_worker_comes_to_the_bits_of_the_local_pool(
    words: list[str], cluster: Any, tmp_path: Path
) -> None:
    (tmp_path / "grid.toml").write_text(GRID)
    shared = [sys.executable, "-m", "sparsefed", *words, "grid.toml", "--budget", "100", "--json"]
    pipes = {"cwd": tmp_path, "text": True, "stdout": subprocess.PIPE}
    there = ["--cluster", cluster.scheduler_address, "--runs", "there"]
    with subprocess.Popen([*shared, *there], **pipes) as command, closing_with(command):
        while not list(tmp_path.glob("there/**/rounds.jsonl")):
            assert command.poll() is None
            time.sleep(0.05)
        with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
            os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
        told = command.communicate(timeout=300)[0]
    assert command.returncode == 0
    local = subprocess.run([*shared, "--jobs", "2", "--runs", "here"], **pipes, check=True, timeout=300)
    assert json.loads(told) == json.loads(local.stdout)
    found, expected = states(tmp_path / "there"), states(tmp_path / "here")
    assert len(found) > 8
    assert found.keys() == expected.keys()
    for run, tensors in expected.items():
        assert all(torch.equal(found[run][name], tensor) for name, tensor in tensors.items()), run


def test_an_address_where_nobody_answers_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(sf.RunError, match=r"--cluster tcp://127\.0\.0\.1:9: expected a Dask scheduler"):
        next(on_cluster([("one", small.experiment())], tmp_path, "tcp://127.0.0.1:9"))

"""Runs on a local Dask cluster of two workers, one of which is killed."""

import json
import os
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


GRID = """
seeds = [0]
compromised = [0.1]
vary = { "clip.norm" = [0.1, 1.0] }

[base]
rounds = 12
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


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as found:
        yield found


def test_runs_come_back_and_a_killed_worker_loses_what_was_not_saved(cluster: Any, tmp_path: Path) -> None:
    rounds, there = 60, tmp_path / "there"
    cells = [(f"seed {seed}", small.experiment(rounds=rounds, seed=seed)) for seed in (1, 2)]
    records = [Record(there, experiment) for _, experiment in cells]
    found: dict[str, Any] = {}
    thread = Thread(target=lambda: found.update(on_cluster(cells, there, cluster.scheduler_address)))
    thread.start()
    while not all(record.has_rounds for record in records):
        time.sleep(0.05)
    saved = [record.rows() for record in records]
    with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
        victim = next(iter(client.run(os.getpid).values()))
    os.kill(victim, signal.SIGKILL)
    thread.join()
    assert all(found[name]["rounds"] == rounds for name, _ in cells), found
    for record, before in zip(records, saved, strict=True):
        after = record.rows()
        assert after[: len(before)] == before  # to the microseconds: not computed again
        assert [row["round"] for row in after] == list(range(1, rounds + 1))
    for _, experiment in cells:
        sf.simulate(experiment, tmp_path / "here", threads=1)
    expected = states(tmp_path / "here")
    assert expected.keys() == states(there).keys()
    for run, tensors in states(there).items():  # the same bits, although one was resumed by another worker
        assert all(torch.equal(expected[run][name], tensor) for name, tensor in tensors.items())


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

    base = GRID[GRID.index("[base]") : GRID.index("[defenses.clip]")]
    table = f'title = "t"\nseeds = [0, 1]\nmetrics = ["loss"]\n{base}\n[rows.a]\n[rows.b]\ncohort = 9\n'
    (tmp_path / "table.toml").write_text(table)
    words = ["table", str(tmp_path / "table.toml"), "--runs", str(tmp_path / "runs"), "--json"]
    with pytest.raises(SystemExit) as end:
        cli.main([*words, "--cluster", cluster.scheduler_address])
    assert end.value.code in (None, 0)
    assert [len(line["run"]) for line in json.loads(capsys.readouterr().out)] == [2, 2]


@contextmanager
def ended(command: "subprocess.Popen[str]") -> Iterator[None]:
    """The command ends with the block, however that ends."""
    try:
        yield
    finally:
        command.kill()


def states(runs: Path) -> dict[str, dict[str, torch.Tensor]]:
    return {path.parent.name: safetensors.torch.load_file(path) for path in runs.glob("**/state.safetensors")}


def command(folder: Path, *words: str) -> "subprocess.Popen[str]":
    """A search of the grid, in a process."""
    (folder / "grid.toml").write_text(GRID)
    whole = [
        sys.executable,
        "-m",
        "sparsefed",
        words[0],
        "grid.toml",
        "--budget",
        "100",
        "--json",
        *words[1:],
    ]
    return subprocess.Popen(whole, cwd=folder, text=True, stdout=subprocess.PIPE)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, torch.Tensor]]:
    """What the runs of a search come to in the local pool."""
    folder = tmp_path_factory.mktemp("pool")
    with command(folder, "frontier", "--jobs", "2") as local, ended(local):
        local.communicate(timeout=1000)
        assert local.returncode == 0
    return states(folder)


@pytest.mark.parametrize("words", [["frontier"], ["tune", "--max-loss", "90"]], ids=["frontier", "tune"])
def test_a_search_on_a_cluster_that_loses_a_worker_has_runs_of_the_same_bits_as_the_local_pool(
    words: list[str], cluster: Any, pool: dict[str, dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    with command(tmp_path, *words, "--cluster", cluster.scheduler_address) as search, ended(search):
        while not states(tmp_path):
            assert search.poll() is None
            time.sleep(0.05)
        with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
            os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
        answer = json.loads(search.communicate(timeout=1000)[0])
    assert search.returncode == 0
    assert answer
    found = states(tmp_path)
    both = found.keys() & pool.keys()  # which settings are tried depends on which run ends first
    assert len(both) > 8
    for run in both:
        assert found[run].keys() == pool[run].keys()
        assert all(torch.equal(found[run][name], tensor) for name, tensor in pool[run].items()), run


def test_an_address_where_nobody_answers_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(sf.RunError, match=r"--cluster tcp://127\.0\.0\.1:9: expected a Dask scheduler"):
        next(on_cluster([("one", small.experiment())], tmp_path, "tcp://127.0.0.1:9"))

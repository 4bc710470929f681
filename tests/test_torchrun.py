"""One run on several processes: the same bits for any number of them, also after one has died."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import small
import torch
import torch.distributed as dist
from every_defense import Poisonous

import sparsefed as sf
from sparsefed.core.ranks import BLOCKS, Ranks, cut, launched

HERE = Path(__file__).parent

SPEC = """
rounds = 6
cohort = 23
twin = true
data = { type = "Digits" }
partition = { type = "OneClass", clients = 100 }
model = { type = "MLP", hidden = [8] }
schedule = { type = "Triangular", peak = 0.2 }
clients = { type = "dies:Dies" }
clip = { type = "QuantileClip" }
defense = { type = "Bulyan", f = 2, momentum = 0.9 }

[attack]
objective = { type = "Targeted", points = 20 }
presence = { type = "Pool", fraction = 0.1 }
method = { type = "PGD", epochs = 2, batch_size = 10 }
"""

DIES = """
import os
import sparsefed as sf


class Dies(sf.Gradient):
    def updates(self, work):
        if work.round == 4 and os.environ.get("DIES") == os.environ["RANK"]:
            os._exit(1)
        return super().updates(work)
"""


def torchrun(
    processes: int, words: list[str], folder: Path, **changes: str
) -> "subprocess.CompletedProcess[str]":
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(processes),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **changes}
    return subprocess.run(
        [*command, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


def state(folder: Path) -> dict[str, torch.Tensor]:
    (path,) = folder.glob("*/state.safetensors")
    return safetensors.torch.load_file(path)


@pytest.fixture(scope="module")
def one_process() -> Iterator[Ranks]:
    store = dist.HashStore()
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield Ranks(0, 1, store)
    dist.destroy_process_group()


RULES = [
    sf.Mean(momentum=0.9),
    sf.SparseFed(k=50, momentum=0.9),
    sf.Median(),
    sf.TrimmedMean(f=2),
    sf.Krum(f=2),
    sf.MultiKrum(f=2, m=5),
    sf.Bulyan(f=1),
    sf.PaperBulyan(f=1),
    sf.RFA(),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
@pytest.mark.parametrize("clients", [sf.Gradient(), Poisonous()], ids=lambda clients: type(clients).__name__)
def test_in_blocks_the_round_is_the_same_but_for_the_last_bits(
    rule: sf.Defense, clients: sf.Clients, one_process: Ranks
) -> None:
    fed = sf.Federation.of(
        small.experiment(
            defense=rule, clients=clients, cohort=17, attack=small.attack(), clip=sf.QuantileClip()
        )
    )
    state = again = fed.initial_state
    for _ in range(2):
        state, report = sf.run_round(fed, state)
        again, same = sf.run_round(replace(fed, ranks=one_process), again)
        assert (same.rejected, same.clip_norm, same.skipped) == (
            report.rejected,
            pytest.approx(report.clip_norm),
            report.skipped,
        )
        assert same.diagnosis == pytest.approx(report.diagnosis, rel=1e-3)
    torch.testing.assert_close(again.params, state.params, rtol=1e-4, atol=1e-6)


def test_where_there_are_gpus_each_process_has_its_own_and_they_talk_through_nccl(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There is none in this test: it says what PyTorch is asked for."""
    asked: list[Any] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", asked.append)
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **_: asked.append(backend))
    monkeypatch.setattr(dist, "destroy_process_group", lambda: None)
    monkeypatch.setattr(dist, "rendezvous", lambda _: iter([(dist.HashStore(), 3, 4)]))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("LOCAL_RANK", "3")
    with launched() as ranks:
        assert ranks is not None
        assert (ranks.rank, ranks.size) == (3, 4)
    assert asked == [1, "cpu:gloo,cuda:nccl"]


def test_blocks_do_not_depend_on_the_number_of_processes(one_process: Ranks) -> None:
    for size in range(1, BLOCKS + 1):
        owned = [block for rank in range(size) for block in Ranks(rank, size, one_process.store).blocks()]
        assert owned == list(range(BLOCKS))
    for count in (0, 1, 7, 8, 23):
        pieces = cut(count)
        assert [place for piece in pieces for place in range(count)[piece]] == list(range(count))


@pytest.mark.slow
def test_a_run_that_loses_a_process_says_so_once_and_resumes_with_another_number_to_the_same_bits(
    tmp_path: Path,
) -> None:
    (tmp_path / "spec.toml").write_text(SPEC)
    (tmp_path / "dies.py").write_text(DIES)
    words = ["-m", "sparsefed", "run", "spec.toml", "--json", "--runs"]
    broken = torchrun(2, [*words, "runs"], tmp_path, DIES="1")
    assert broken.returncode != 0
    told = [line for line in broken.stderr.splitlines() if line.startswith("sparsefed: ")]
    assert len(told) == 1, broken.stderr
    assert "the same command resumes it" in told[0] or "run the same command to resume" in told[0]
    assert int(state(tmp_path / "runs")["round"]) == 3
    resumed, whole = (torchrun(*each, tmp_path) for each in ((3, [*words, "runs"]), (1, [*words, "alone"])))
    assert json.loads(resumed.stdout)["rounds"] == json.loads(whole.stdout)["rounds"] == 6
    found, expected = state(tmp_path / "runs"), state(tmp_path / "alone")
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    (row, *_) = (tmp_path / "alone").glob("*/rounds.jsonl")
    assert json.loads(row.read_text().splitlines()[0])["environment"]["blocks"] == 8


@pytest.mark.slow
def test_every_defense_comes_to_the_same_bits_on_one_two_and_four_processes(tmp_path: Path) -> None:
    found = []
    for processes in (1, 2, 4):
        folder = tmp_path / str(processes)
        folder.mkdir()
        torchrun(processes, [str(HERE / "every_defense.py"), str(folder)], folder).check_returncode()
        found += [json.loads(path.read_text()) for path in folder.iterdir()]
    assert len(found) == 7
    assert all(servers == found[0] for servers in found)

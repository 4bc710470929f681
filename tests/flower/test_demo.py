"""The demonstration: a SuperLink and five SuperNodes as processes; a node and the server are killed."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from pages import ROOT, transcript

pytest.importorskip("flwr.serverapp", reason="needs Flower: make test-deploy")
import psutil

import sparsefed as sf
from sparsefed.server import Keeper, Rules, Upload

EXAMPLE = ROOT / "examples" / "flower"
ROUNDS, NODES, MALICIOUS = 4, 5, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a demonstration that has ended; `told` is what it said."""
    folder = tmp_path_factory.mktemp("demo")
    words = [sys.executable, str(EXAMPLE / "demo.py"), str(folder)]
    told = subprocess.run(words, capture_output=True, text=True, timeout=2000, check=True).stdout
    (folder / "told").write_text(told)
    return folder


SCORE = r"[\d.]+ (?=%)"


def plain(line: str) -> str:
    """A line without what differs from one run to the next: ids, the folder, scores."""
    return re.sub(rf"\S*/|\b\d{{6,}}\b|{SCORE}", "", line)


@pytest.mark.slow
def test_fedavg_falls_and_sparsefed_holds_as_the_documentation_shows(folder: Path) -> None:
    told, shown = (folder / "told").read_text().splitlines(), transcript("docs/deploy.md", "make flower-demo")
    assert [*map(plain, told)] == [*map(plain, shown)]
    scores, expected = (
        [float(score) for score in re.findall(SCORE, "\n".join(each))] for each in (told, shown)
    )
    assert scores == pytest.approx(expected, abs=1)  # nodes are added in the order of ids that Flower draws


@pytest.mark.slow
def test_after_both_kills_the_state_is_that_of_one_process_on_the_same_updates(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(EXAMPLE)
    from app.client import trained

    data, told = np.load(folder / "digits.npz"), (folder / "told").read_text()
    logs = [(folder / f"node{number}.log").read_text() for number in range(NODES)]
    names = {int(re.findall(r"SuperNode ID: (\d+)", log)[0]): number for number, log in enumerate(logs)}
    silent = {
        (int(round), names[int(node)]) for round, node in re.findall(r"round (\d): (\d+): left out", told)
    }
    silent |= {(round, 0) for round in range(3, ROUNDS + 1)}  # killed in round 2
    rules = Rules(defense=sf.SparseFed(k=300, momentum=0.5), clip=sf.FixedClip(norm=1.5), rounds=ROUNDS)
    keeper = Keeper(rules, {"weight": np.zeros((64, 10), np.float32), "bias": np.zeros(10, np.float32)})
    for round in range(1, ROUNDS + 1):
        start, sent = list(keeper.arrays().values()), []
        for node, number in sorted(names.items()):
            if (round, number) not in silent:
                new = trained(start, data["x_train"], data["y_train"], number, number == MALICIOUS)
                sent.append(Upload(node, dict(zip(("weight", "bias"), new, strict=True))))
        keeper.step(sent)
    saved = safetensors.torch.load_file(folder / "server.safetensors")
    assert int(saved["round"]) == ROUNDS
    assert torch.equal(saved["server.params"], keeper.state.params)


@pytest.mark.slow
def test_no_process_of_flower_is_left(folder: Path) -> None:
    def of_the_demonstration(process: psutil.Process) -> bool:
        try:
            return process.status() != psutil.STATUS_ZOMBIE and process.environ().get("FLWR_HOME") == str(
                folder
            )
        except psutil.Error:
            return False

    assert not [process.cmdline() for process in psutil.process_iter() if of_the_demonstration(process)]

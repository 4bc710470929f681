"""The demonstration: a SuperLink and five SuperNodes as processes; a node and the server are killed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("flwr.serverapp", reason="needs Flower: make test-deploy")

DEMO = Path(__file__).parents[2] / "examples" / "flower" / "demo.py"


@pytest.mark.slow
def test_fedavg_falls_and_sparsefed_holds_although_a_node_and_the_server_are_killed(tmp_path: Path) -> None:
    words = [sys.executable, str(DEMO), str(tmp_path), "--kill"]
    told = subprocess.run(words, capture_output=True, text=True, timeout=600, check=True).stdout
    scores = re.findall(r"^(FedAvg|SparseFed), after round (\d): ([\d.]+) %", told, re.M)
    final = {strategy: float(score) for strategy, _, score in scores}
    assert final["FedAvg"] < 20
    assert final["SparseFed"] > 60
    rounds = [int(round) for strategy, round, _ in scores if strategy == "SparseFed"]
    assert rounds == [0, 1, 2, 2, 3, 4], told  # the second server begins with the model that the first saved
    assert "going on after round 2" in told

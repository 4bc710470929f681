"""NVIDIA FLARE's simulator: a server and clients as processes, some of them hostile."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from pages import transcript

pytest.importorskip("nvflare", reason="needs NVIDIA FLARE: make test-deploy")

import sparsefed as sf
from sparsefed.server import Keeper, Rules, Upload

EXAMPLE = Path(__file__).parents[2] / "examples" / "flare"

CLIENT = f"""
import sys
import time
import numpy as np
import nvflare.client as flare
import torch
sys.path.insert(0, {str(EXAMPLE)!r})
from client import trained

flare.init()
site = flare.get_site_name()
while flare.is_running():
    model = flare.receive()
    if site == "site-4":
        raise ValueError("a client that fails")
    if site == "site-5":
        time.sleep(1000)
    new = trained({{name: np.asarray(array) for name, array in model.params.items()}}, int(site[-1]) - 1)
    new = {{name: torch.from_numpy(array) for name, array in new.items()}}
    if site == "site-3":
        new["bias"] = torch.zeros(11)
    flare.send(flare.FLModel(params=new))
"""

JOB = f"""
import sys
sys.path.insert(0, {str(EXAMPLE)!r})
from job import RULES
from model import Digits
from nvflare.recipe import SimEnv
from sparsefed.flare import RobustRecipe

folder = sys.argv[1]
recipe = RobustRecipe(
    RULES.but(least=2),
    checkpoint=folder + "/server.safetensors",
    timeout=40,
    name="hostile",
    num_rounds=2,
    min_clients=5,
    model=Digits(),
    train_script=folder + "/client_five.py",
)
recipe.execute(SimEnv(num_clients=5, workspace_root=folder))
"""


def job(words: list[str]) -> str:
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=2000, check=True
    ).stdout


def expected(rules: Rules, rounds: int, clients: list[int]) -> torch.Tensor:
    """θ after rounds of these clients, computed in this process."""
    sys.path.insert(0, str(EXAMPLE))
    from client import trained

    start = {"weight": np.zeros((10, 64), np.float32), "bias": np.zeros(10, np.float32)}
    keeper = Keeper(rules.but(rounds=rounds), start)
    for _ in range(rounds):
        keeper.step([Upload(f"site-{n + 1}", trained(keeper.arrays(), n)) for n in clients])
    return keeper.state.params


def saved(folder: Path) -> torch.Tensor:
    return safetensors.torch.load_file(folder / "server.safetensors")["server.params"]


@pytest.mark.slow
def test_fedavg_falls_and_sparsefed_holds_over_two_jobs_to_the_bits_of_one_process(tmp_path: Path) -> None:
    told = job([str(EXAMPLE / "job.py"), str(tmp_path)])
    assert transcript("docs/deploy.md", "make flare-demo") == [
        line for line in told.splitlines() if "test digits" in line
    ]
    rules = Rules(defense=sf.SparseFed(k=300, momentum=0.5), clip=sf.FixedClip(norm=1.5), least=3)
    assert torch.equal(saved(tmp_path), expected(rules, 4, [0, 1, 2, 3, 4]))


@pytest.mark.slow
def test_clients_that_fail_hang_or_send_other_shapes_do_not_stop_the_job(tmp_path: Path) -> None:
    (tmp_path / "client_five.py").write_text(CLIENT)
    (tmp_path / "job.py").write_text(JOB)
    job([str(tmp_path / "job.py"), str(tmp_path)])
    rules = Rules(defense=sf.SparseFed(k=300, momentum=0.5), clip=sf.FixedClip(norm=1.5))
    assert torch.equal(saved(tmp_path), expected(rules, 2, [0, 1]))

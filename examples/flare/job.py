"""An NVIDIA FLARE federation in its simulator: five clients, one of them malicious.

python examples/flare/job.py FOLDER   # plain FedAvg falls, SparseFed holds
"""

import sys
from pathlib import Path

import numpy as np
import torch
from client import CLIENTS, digits
from model import Digits
from nvflare.app_opt.pt.recipes.fedavg import FedAvgRecipe
from nvflare.recipe import SimEnv

import sparsefed as sf
from sparsefed.flare import RobustRecipe
from sparsefed.server import Rules

HERE = Path(__file__).parent
RULES = Rules(defense=sf.SparseFed(k=300, momentum=0.5), clip=sf.FixedClip(norm=1.5), least=3)


def accuracy(recipe: FedAvgRecipe, folder: Path) -> float:
    """Run the job, and test its final model: percent of the test digits."""
    recipe.execute(SimEnv(num_clients=CLIENTS, workspace_root=str(folder), log_config="ERROR"))
    (path,) = folder.glob(f"{recipe.name}/server/simulate_job/app_server/FL_global_model.pt")
    model = {name: array.numpy() for name, array in torch.load(path)["model"].items()}
    x, y = (part[1400:] for part in digits())
    return 100 * float(np.mean((x @ model["weight"].T + model["bias"]).argmax(axis=1) == y))


def main(folder: Path, rounds: int = 4) -> None:
    """Both rules on the same clients."""
    shared = {"min_clients": CLIENTS, "model": Digits(), "train_script": str(HERE / "client.py")}
    plain = FedAvgRecipe(name="fedavg", num_rounds=2, **shared)
    print(f"FedAvg, after round 2: {accuracy(plain, folder):.1f} % of the test digits", flush=True)
    checkpoint = folder / "server.safetensors"
    for total in (2, rounds):  # the second job resumes after the first
        robust = RobustRecipe(RULES, checkpoint=checkpoint, num_rounds=total, name=f"robust{total}", **shared)
        print(
            f"SparseFed, after round {total}: {accuracy(robust, folder):.1f} % of the test digits", flush=True
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())

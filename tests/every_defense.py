"""Under torchrun: play rounds with every defense, and write what the servers then are."""

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import sparsefed as sf
from sparsefed.clients import Work
from sparsefed.core.memories import leaves
from sparsefed.core.ranks import Ranks, launched

ROUNDS = 3
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "defenses")]


class Poisonous(sf.Gradient):
    """Gradients, some of them not finite and some so long that float32 holds no factor for them."""

    def updates(self, work: Work) -> sf.Updates:
        rows = super().updates(work).rows().clone()
        clients = torch.from_numpy(work.data.clients)
        rows[clients % 5 == 0] *= 1e34
        rows[clients % 7 == 0] = torch.nan
        return sf.dense(rows)


def servers(ranks: Ranks | None, clients: list[sf.Clients]) -> dict[str, str]:
    """A digest of the server's whole state after some rounds, for each defense and kind of clients."""
    import small
    from test_in_a_federation import EVERY

    found = {}
    for rule in EVERY:
        for kind in clients:
            parts = {"defense": rule, "clients": kind, "clip": sf.QuantileClip(), "cohort": 17}
            spec = small.experiment(rounds=ROUNDS, attack=small.attack(), **parts)
            fed = replace(sf.Federation.of(spec), ranks=ranks)
            state = fed.initial_state
            for _ in range(ROUNDS):
                state, _ = sf.run_round(fed, state)
            digest = hashlib.sha256()
            for _, leaf in leaves(state._asdict()):
                digest.update(np.asarray(leaf).tobytes())
            found[f"{type(rule).__name__}, {type(kind).__name__}"] = digest.hexdigest()
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    with launched() as ranks:
        found = servers(ranks, [sf.Gradient(), sf.FedAvg(batch_size=4), Poisonous()])
        Path(sys.argv[1], f"{ranks.rank if ranks else 'alone'}.json").write_text(json.dumps(found))

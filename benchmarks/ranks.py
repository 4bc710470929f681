"""A round on two processes against one, as `torchrun` would start them, and what cutting into blocks costs.

Every contender is one process or two, each with one thread. Two free cores are needed to show a gain:
`load_before` in the results says how busy the machine was.
"""

import atexit
import os
import socket
import subprocess
import sys
from collections.abc import Mapping

from benchmarks.harness import Contender, Row, Skip, needs
from sparsefed.data import MNIST

WORKER = """
import sys
from dataclasses import replace
import sparsefed as sf
from sparsefed.core.allocator import keep_large_blocks
from sparsefed.core.ranks import launched
from sparsefed.federation.round import Federation, run_round
from sparsefed.runs.threads import computing_with

keep_large_blocks()
spec, rounds = sys.argv[1:-1], int(sys.argv[-1])
with launched() as ranks, computing_with(1):
    fed = replace(Federation.of(sf.read_experiment(spec[0], spec[1:])), ranks=ranks)
    state = fed.initial_state
    for _ in sys.stdin:
        for _ in range(rounds):
            state, _ = run_round(fed, state)
        print(flush=True)
"""


def contender(spec: list[str], processes: int, rounds: int) -> Contender:
    """Processes that compute rounds together each time they are asked; 0 stands for one without blocks."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    children = []
    for rank in range(max(1, processes)):
        place = {"RANK": rank, "WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        place["TORCHELASTIC_RUN_ID"] = "benchmark"
        settings = {**os.environ, **{key: str(value) for key, value in place.items() if processes}}
        words = [sys.executable, "-c", WORKER, *spec, str(rounds)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        children.append(subprocess.Popen(words, env=settings, **pipes))
        atexit.register(children[-1].kill)

    def run() -> None:
        for child in children:
            child.stdin.write("\n")
        for child in children:
            if not child.stdout.readline():
                raise Skip("a process has ended")

    return run


def row(title: str, spec: list[str], rounds: int, ours: int, other: int) -> Row:
    names = {0: "without torchrun", 1: "1 process", 2: "2 processes"}

    def prepare() -> Mapping[str, Contender]:
        if spec[0].endswith("mnist.toml"):
            needs(MNIST())
        return {names[count]: contender(spec, count, rounds) for count in (ours, other)}

    return Row(f"round of {title}: {names[ours]} / {names[other]}", None, prepare, seconds=60)


# Without an attack, whose work every process does: what is divided is the honest clients'.
_CNN = "100 × 6, CNN", ["examples/mnist.toml", 'model={type="CNN"}', 'without=["attack"]'], 1
_ROWS = "the same under TrimmedMean", [*_CNN[1], 'defense={type="TrimmedMean",f=5}'], 1

ROWS = {
    "ranks_sum": row(*_CNN, 2, 1),
    "ranks_rows": row(*_ROWS, 2, 1),
    "ranks_blocks": row(*_CNN, 1, 0),
}

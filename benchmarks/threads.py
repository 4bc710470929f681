"""The default number of threads against one and two, on an idle machine and with another process on a core.

Every contender is a process of its own, since the threads of one would disturb the other's.
"""

import atexit
import os
import subprocess
import sys
from collections.abc import Mapping

from benchmarks.harness import Contender, Goal, Row, needs
from sparsefed.data import MNIST

WORKER = """
import sys
import sparsefed as sf
from sparsefed.federation.round import Federation, run_round
from sparsefed.runs.threads import computing_with, worthwhile_threads
from sparsefed.core.allocator import keep_large_blocks

keep_large_blocks()
spec, changes, threads, rounds = sys.argv[1], sys.argv[2:-2], int(sys.argv[-2]), int(sys.argv[-1])
fed = Federation.of(sf.read_experiment(spec, changes))
state = fed.initial_state
with computing_with(threads or worthwhile_threads(fed)):
    for _ in sys.stdin:
        for _ in range(rounds):
            state, _ = run_round(fed, state)
        print(flush=True)
"""
BUSY = """
import os
ours = os.getppid()
while os.getppid() == ours:
    pass
"""
"""Ends with the benchmark, however that ends."""


def contender(spec: list[str], threads: int, rounds: int) -> Contender:
    """A process that computes some rounds each time it is asked; 0 threads are the default."""
    words = [sys.executable, "-c", WORKER, *spec, str(threads), str(rounds)]
    # The benchmark's own choice of waiting would be inherited: a user's process starts without one.
    settings = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    child = subprocess.Popen(
        words, env=settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    atexit.register(child.kill)
    assert child.stdin is not None
    assert child.stdout is not None
    ask, answer = child.stdin, child.stdout

    def run() -> None:
        ask.write("\n")
        answer.readline()

    return run


def row(title: str, spec: list[str], rounds: int, busy: bool) -> Row:
    """The default against one and two threads; the best of the two counts."""

    def prepare() -> Mapping[str, Contender]:
        if spec[0].endswith("mnist.toml"):
            needs(MNIST())
        while _running:
            _running.pop().kill()
        if busy:
            other = subprocess.Popen([sys.executable, "-c", BUSY])
            _running.append(other)
        named = {"default": 0, "1 thread": 1, "2 threads": 2}
        return {name: contender(spec, threads, rounds) for name, threads in named.items()}

    where = "beside a busy process" if busy else "alone"
    return Row(f"round with the default threads / best of 1 and 2, {title}, {where}", Goal("≤", 1.2), prepare)


_running: list[subprocess.Popen] = []
_DIGITS, _MNIST = "examples/digits.toml", "examples/mnist.toml"
_MODELS = {
    "mlp": ("MLP on digits", [_DIGITS], 10),
    "cnn": ("CNN on MNIST", [_MNIST, 'model={type="CNN"}'], 1),
}

ROWS = {
    f"threads_{name}_{'busy' if busy else 'idle'}": row(*model, busy)
    for busy in (False, True)
    for name, model in _MODELS.items()
}

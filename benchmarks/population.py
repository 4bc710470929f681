"""A million clients against ten thousand: the same round, the same memory.

`python -m benchmarks population` races the rounds; `python -m benchmarks.population` measures the peak
memory of each population in a process of its own and prints the ratio.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping

import sparsefed as sf
from benchmarks.harness import Goal, Row, Skip
from sparsefed.data import MNIST, OneClass
from sparsefed.models import MLP

ROUNDS = 50


def federation(clients: int) -> sf.Federation:
    """The main table's setting with any number of clients, who draw their 6 images with replacement."""
    return sf.Federation.of(
        sf.Experiment(
            rounds=2400,
            cohort=100,
            data=MNIST(),
            partition=OneClass(clients=clients, per_client=6, replace=True),
            model=MLP(hidden=(200, 200)),
            schedule=sf.Constant(value=0.05),
            clip=sf.FixedClip(norm=5.0),
            defense=sf.SparseFed(k=1000, momentum=0.9),
        )
    )


def rounds_of(clients: int) -> Callable[[], None]:
    fed = federation(clients)

    def run() -> None:
        state = fed.initial_state
        for _ in range(ROUNDS):
            state, _ = sf.run_round(fed, state)

    return run


def prepare() -> Mapping[str, Callable[[], None]]:
    try:
        return {"1,000,000 clients": rounds_of(1_000_000), "10,000 clients": rounds_of(10_000)}
    except sf.DataError as problem:
        raise Skip(str(problem)) from None


ROWS = {"population": Row("50 rounds, 1,000,000 clients / 10,000", Goal("≤", 1.05), prepare)}


def peak_megabytes(clients: int) -> float:
    """The peak memory of a process that runs ten rounds."""
    rounds_of(clients)()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(peak_megabytes(int(sys.argv[1]))))
        return
    peaks = {}
    for clients in (10_000, 1_000_000):
        command = [sys.executable, "-m", "benchmarks.population", str(clients)]
        peaks[clients] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        print(f"{clients:>9,} clients: peak memory {peaks[clients]:.0f} MB")
    print(f"ratio {peaks[1_000_000] / peaks[10_000]:.3f}")


if __name__ == "__main__":
    main()

"""What a server pays for a cohort that grows: one step of every rule on 100 to a million updates.

`python -m benchmarks.scale` gives every rule a process of its own with one thread, updates of 1,000 numbers
(of ten, for a million updates) and 20 seconds. It prints a table of seconds, and of the memory beside the
matrix, and adds lines to `benchmarks/results/scale.jsonl`. Seconds are those that the process computed, so
that others may use the machine.
"""

import json
import multiprocessing
import resource
import time
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty

import torch

import sparsefed as sf
from benchmarks.engine import status
from benchmarks.harness import RESULTS
from benchmarks.machine import machine
from sparsefed.core.allocator import keep_large_blocks
from sparsefed.defenses import Defense

SIZES = [(100, 1_000), (1_000, 1_000), (10_000, 1_000), (1_000_000, 10)]
"""How many updates of how many numbers."""

SECONDS = 20
"""How much a rule may compute for all sizes, its warm-up included."""

RULES: list[Defense] = [
    sf.Mean(momentum=0.9),
    sf.SparseFed(k=5, momentum=0.9),
    sf.FetchSGD(k=5, columns=100, momentum=0.9),
    sf.GaussianNoise(sigma=0.1),
    sf.RFA(),
    sf.CenteredClipping(radius=1.0),
    sf.RLR(threshold=5),
    sf.SignMajority(),
    sf.LASA(),
    sf.TrimmedMean(f=10),
    sf.Median(),
    sf.MeanAroundMedian(f=10),
    sf.DnC(f=10),
    sf.Krum(f=10),
    sf.MultiKrum(f=10, m=20),
    sf.NNM(rule=sf.TrimmedMean(f=10), f=10),
    sf.FLAME(),
    sf.Bulyan(f=10),
    sf.MDA(f=10),
]


def measured(rule: Defense, found: "Queue[tuple[int, float, float]]") -> None:
    """In a process of its own: the number of updates, seconds of a step, and MB beside the matrix."""
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    for n, d in SIZES:
        draw = torch.Generator().manual_seed(0)
        matrix, params = torch.randn(n, d, generator=draw), torch.zeros(d)
        memory = rule.init(params, seed=0)
        if n == SIZES[0][0]:
            rule.step(sf.dense(matrix), memory, 0.1)  # compiles
        before, start = status("VmRSS"), time.process_time()
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        rule.step(sf.dense(matrix), memory, 0.1)
        found.put((n, time.process_time() - start, status("VmHWM") - before))


def line_of(rule: Defense) -> dict[str, tuple[float, float]]:
    """Seconds and MB by the number of updates, for as many sizes as the time allows."""
    context = multiprocessing.get_context("fork")  # with what has been imported
    found = context.Queue()
    child = context.Process(target=measured, args=(rule, found), daemon=True)
    child.start()
    child.join()
    line = {}
    try:
        while True:
            n, seconds, megabytes = found.get(timeout=1)
            line[str(n)] = (round(seconds, 4), round(megabytes))
    except Empty:
        return line


def main() -> None:
    keep_large_blocks()
    torch.set_num_threads(1)
    here, names = machine(), [f"{n:,}" for n, _ in SIZES]
    print(f"| rule | {' | '.join(f'{name}: s' for name in names)} | MB beside the matrix, n = {names[2]} |")
    print(f"| --- |{' ---: |' * (len(names) + 1)}")
    for rule in RULES:
        line = line_of(rule)
        seconds = [f"{line[str(n)][0]:.3g}" if str(n) in line else "–" for n, _ in SIZES]
        memory = line.get(str(SIZES[2][0]), ("", "–"))[1]
        print(f"| `{type(rule).__name__}` | {' | '.join(seconds)} | {memory} |", flush=True)
        row = {"row": f"scale_{type(rule).__name__}", "rule": repr(rule), "seconds_and_mb": line, **here}
        with (RESULTS / "scale.jsonl").open("a") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()

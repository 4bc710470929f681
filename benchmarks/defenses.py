"""What each defense costs in a round of the table of defenses: time, interleaved, and memory, one by one.

`python -m benchmarks.defenses` plays unattacked rounds of every row of `examples/tables/defenses_mnist.toml`
in turn, in one process and on one thread, then measures the peak memory of each in a process of its own.
It prints a Markdown table and adds lines to `benchmarks/results/defenses.jsonl`.
"""

import json
import multiprocessing
import statistics
from collections.abc import Iterator
from pathlib import Path

import torch

import sparsefed as sf
from benchmarks.engine import peak_of
from benchmarks.harness import RESULTS, Contender
from benchmarks.machine import machine
from sparsefed.core.allocator import keep_large_blocks
from sparsefed.runs.tables import read_table

TABLE = Path(__file__).parents[1] / "examples" / "tables" / "defenses_mnist.toml"
ROUNDS = 60


def experiments() -> dict[str, sf.Experiment]:
    cells = read_table(TABLE).cells()
    return {cell.row: cell.experiment for cell in cells if cell.experiment.seed == 0}


def rounds_of(fed: sf.Federation) -> Iterator[tuple[float, float]]:
    """Milliseconds of honest work and of the server, round by round."""
    state = fed.initial_state
    while True:
        state, report = sf.run_round(fed, state, poisoned=False)
        yield 1e3 * report.seconds_honest, 1e3 * report.seconds_server


def ready(experiment: sf.Experiment) -> Contender:
    rounds = rounds_of(sf.Federation.of(experiment))
    return lambda: next(rounds)


def peak_mebibytes(row: str) -> float:
    keep_large_blocks()
    torch.set_num_threads(1)
    return peak_of(lambda: ready(experiments()[row]))


def main() -> None:
    keep_large_blocks()
    torch.set_num_threads(1)
    rows = {name: rounds_of(sf.Federation.of(experiment)) for name, experiment in experiments().items()}
    for rounds in rows.values():
        next(rounds)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in rows}
    for _ in range(ROUNDS):
        for name, rounds in rows.items():
            times[name].append(next(rounds))
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        peaks = dict(zip(rows, pool.map(peak_mebibytes, rows, chunksize=1), strict=True))
    print("| defense | honest work, ms a round | server, ms a round | peak memory, MiB |")
    print("| --- | ---: | ---: | ---: |")
    lines, here = [], machine()
    for name, laps in times.items():
        honest, server = (statistics.median(part) for part in zip(*laps, strict=True))
        print(f"| {name} | {honest:.1f} | {server:.1f} | {peaks[name]:.0f} |")
        numbers = {
            "honest_ms": round(honest, 3),
            "server_ms": round(server, 3),
            "peak_mib": round(peaks[name]),
        }
        lines.append({"row": name, **numbers, "rounds": ROUNDS, **here})
    with (RESULTS / "defenses.jsonl").open("a") as file:
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


if __name__ == "__main__":
    main()

"""Pictures of how cost grows: linearly with the cohort and with d, and not at all with the population.

`python -m benchmarks.curves` writes `benchmarks/results/curves.png` and the numbers beside it.
"""

import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import matplotlib as mpl
import torch

mpl.use("Agg")
from matplotlib import pyplot as plt

import sparsefed as sf
from benchmarks.harness import RESULTS, Contender
from benchmarks.kernels import Given
from benchmarks.machine import machine
from benchmarks.rounds import ours
from sparsefed.core.allocator import keep_large_blocks
from sparsefed.data import Digits, OneClass
from sparsefed.defenses import Bulyan, Krum, Median, SparseFed, TrimmedMean
from sparsefed.models import MLP

REPEATS = 9


class Curve(NamedTuple):
    """Milliseconds against sizes, of one or more kinds of work."""

    title: str
    sizes: list[int]
    works: dict[str, Callable[[int], Contender]]


def rule_on(rule: TrimmedMean | Median | Krum | Bulyan, params: int) -> Contender:
    matrix = torch.randn(50, params, generator=torch.Generator().manual_seed(0))
    return lambda: rule.aggregate(sf.dense(matrix))


def server_step(params: int) -> Contender:
    velocity, error, mean = torch.randn(3, params, generator=torch.Generator().manual_seed(0))
    rule, updates = SparseFed(k=1_000, momentum=0.9), Given(mean[None])
    memory = rule.init(mean)._replace(velocity=velocity, error=error)
    return lambda: rule.step(updates, memory, 0.1)


def round_of_population(clients: int) -> Contender:
    fed = sf.Federation.of(
        sf.Experiment(
            rounds=2400,
            cohort=100,
            data=Digits(),
            partition=OneClass(clients=clients, per_client=6, replace=True),
            model=MLP(hidden=(200, 200)),
            schedule=sf.Constant(value=0.05),
            clip=sf.FixedClip(norm=5.0),
            defense=sf.SparseFed(k=1000, momentum=0.9),
        )
    )
    state = fed.initial_state
    return lambda: sf.run_round(fed, state)


CURVES = [
    Curve("cohort (5 examples each, small CNN)", [25, 50, 100, 200, 400], {"SparseFed round": ours}),
    Curve(
        "parameters d (50 clients)",
        [100_000, 300_000, 1_000_000, 3_000_000, 6_568_640],
        {
            "Bulyan": partial(rule_on, Bulyan(f=10)),
            "Krum": partial(rule_on, Krum(f=10)),
            "trimmed mean": partial(rule_on, TrimmedMean(f=10)),
            "median": partial(rule_on, Median()),
            "SparseFed server step": server_step,
        },
    ),
    Curve(
        "population (100 of them in a round, digits, MLP)",
        [1_000, 10_000, 100_000, 1_000_000],
        {"SparseFed round": round_of_population},
    ),
]


def milliseconds(run: Contender) -> list[float]:
    run()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - start))
    return times


def main() -> None:
    keep_large_blocks()
    RESULTS.mkdir(exist_ok=True)
    figure, axes = plt.subplots(1, len(CURVES), figsize=(15, 4.5), layout="constrained")
    lines = []
    for curve, axis in zip(CURVES, axes, strict=True):
        for name, prepare in curve.works.items():
            measured = [milliseconds(prepare(size)) for size in curve.sizes]
            medians = [statistics.median(times) for times in measured]
            axis.loglog(curve.sizes, medians, "o-", label=name)
            best = [round(min(times), 4) for times in measured]
            numbers = {"sizes": curve.sizes, "median_ms": [round(m, 4) for m in medians], "best_ms": best}
            lines.append({"curve": curve.title, "work": name, **numbers, "repeats": REPEATS, **machine()})
        low, high = axis.get_ylim()
        axis.set(xlabel=curve.title, ylabel="ms, median", ylim=(low / 2, high * 2))
        guide = [medians[0] * size / curve.sizes[0] for size in curve.sizes]
        axis.loglog(curve.sizes, guide, "k:", linewidth=1, label="linear")
        axis.legend()
        axis.set_xticks(
            curve.sizes, labels=[f"{size:.3g}" if size < 1e4 else f"{size:.1e}" for size in curve.sizes]
        )
        axis.minorticks_off()
    figure.savefig(RESULTS / "curves.png", dpi=120)
    with (RESULTS / "curves.jsonl").open("a") as file:
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


if __name__ == "__main__":
    main()

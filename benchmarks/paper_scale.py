"""The paper's CIFAR-10 run in full: ResNet9, 10,000 clients of 5 images, 2,400 rounds, 200 attackers.

`python -m benchmarks.paper_scale` runs it on the GPU, every round of it, and writes a line to
`benchmarks/results/paper_scale.jsonl`: seconds for honest work, attack and server, arithmetic done per
second, and what the card reaches in one large product of matrices. Without a GPU, or with `--rounds`, it
times so many rounds from the start and says what share of the run that is; nothing is extrapolated.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Literal

import torch
from torch.utils.flop_counter import FlopCounterMode

import sparsefed as sf
from benchmarks.harness import RESULTS
from benchmarks.machine import machine
from sparsefed.core.allocator import keep_large_blocks
from sparsefed.data import CIFAR10, OneClass
from sparsefed.federation.metrics import evaluate
from sparsefed.models import ResNet9

ROUNDS = 2400


def experiment(device: str, precision: Literal["float32", "tf32"] = "float32") -> sf.Experiment:
    """Section 3 and Appendix B.3 of the paper, with the readings of `docs/deviations.md`."""
    return sf.Experiment(
        rounds=ROUNDS,
        cohort=100,
        data=CIFAR10(),
        partition=OneClass(clients=10_000),
        model=ResNet9(),
        schedule=sf.Triangular(peak=0.2, pivot=5 / 24),
        clip=sf.FixedClip(norm=5.0),
        defense=sf.SparseFed(k=50_000, momentum=0.9),
        attack=sf.Attack(
            objective=sf.Targeted(points=500),
            presence=sf.Pool(clients=200),
            method=sf.PGD(epochs=5, batch_size=100, local_lr=0.1),
        ),
        device=device,
        precision=precision,
    )


def operations(fed: sf.Federation, state: sf.ServerState) -> int:
    """Floating-point operations of one round in products and convolutions, as PyTorch counts them."""
    with FlopCounterMode(display=False) as counter:
        sf.run_round(fed, state)
    return counter.get_total_flops()


def peak_flops(device: str, size: int) -> float:
    """Operations per second in a float32 product of two square matrices: the median of 5."""
    a, b = torch.randn(2, size, size, device=device)
    wait = _waiting(device)
    times = []
    for _ in range(6):
        wait()
        start = time.perf_counter()
        a @ b
        wait()
        times.append(time.perf_counter() - start)
    return 2 * size**3 / statistics.median(times[1:])


def _waiting(device: str) -> Callable[[], None]:
    return torch.cuda.synchronize if device == "cuda" else lambda: None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    cuda = torch.cuda.is_available()
    parser.add_argument("--device", default="cuda" if cuda else "cpu", choices=["cuda", "cpu"])
    parser.add_argument("--precision", default="float32", choices=["float32", "tf32"])
    parser.add_argument("--rounds", type=int, default=ROUNDS if cuda else 3, help="how many to time")
    asked = parser.parse_args()
    if not 0 < asked.rounds <= ROUNDS:
        parser.error(f"--rounds needs 1 to {ROUNDS}, got {asked.rounds}")
    keep_large_blocks()
    fed = sf.Federation.of(experiment(asked.device, asked.precision))
    peak = peak_flops(asked.device, 8192 if asked.device == "cuda" else 2048)
    wait = _waiting(asked.device)
    sf.run_round(fed, fed.initial_state)  # choosing an engine and compiling are not timed
    attacked = next(t for t in range(1, ROUNDS) if fed.attacking(fed.cohort(t), t).any())
    quiet = next(t for t in range(1, ROUNDS) if not fed.attacking(fed.cohort(t), t).any())
    flops = {
        name: operations(fed, fed.initial_state._replace(round=t - 1))
        for name, t in (("attacked", attacked), ("quiet", quiet))
    }
    state, reports = fed.initial_state, []
    wait()
    start = time.perf_counter()
    for _ in range(asked.rounds):
        state, report = sf.run_round(fed, state)
        reports.append(report)
    wait()
    seconds = time.perf_counter() - start
    total = sum(flops["attacked" if report.compromised else "quiet"] for report in reports)
    look = evaluate(fed.network, state.params, fed.dataset, fed.auxiliary)
    line = {
        "row": "paper_scale",
        "title": "CIFAR-10, ResNet9, 100 × 5, k = 50,000, 200 attackers: rounds from the start",
        "precision": asked.precision,
        "rounds": asked.rounds,
        "of": ROUNDS,
        "seconds": round(seconds, 2),
        "seconds_honest": round(sum(report.seconds_honest for report in reports), 2),
        "seconds_attack": round(sum(report.seconds_attack for report in reports), 2),
        "seconds_server": round(sum(report.seconds_server for report in reports), 2),
        "attacked_rounds": sum(report.compromised > 0 for report in reports),
        "teraflop_attacked_round": round(flops["attacked"] / 1e12, 4),
        "teraflop_quiet_round": round(flops["quiet"] / 1e12, 4),
        "teraflop_per_second": round(total / seconds / 1e12, 4),
        "teraflop_per_second_of_a_product": round(peak / 1e12, 4),
        "share_of_that": round(total / seconds / peak, 4),
        "test_accuracy": look.test_accuracy,
        "attack_accuracy": look.attack_accuracy,
        **machine(),
    }
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / "paper_scale.jsonl").open("a") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
    print(json.dumps(line, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()

"""The kernels against the machine: how many times as long as reading the same numbers once."""

from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor

from benchmarks.elsewhere import elsewhere
from benchmarks.harness import Contender, Goal, Row
from sparsefed.defenses import Bulyan, Krum, Median, SparseFed, TrimmedMean
from sparsefed.defenses.sparsefed import Memory
from sparsefed.kernels import CountSketch, top_k
from sparsefed.protocol.dense import dense
from sparsefed.protocol.updates import Dense

RESNET9 = 6_568_640
CLIENTS, F = 100, 20


@lru_cache(maxsize=1)
def vector(size: int, count: int = 1) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(0))


class Given(Dense):
    """Updates whose mean is known, so that only the server's own work is timed."""

    def mean(self) -> Tensor:
        return self.matrix[0]


def top_k_race() -> Mapping[str, Contender]:
    (values,) = vector(40_000_000)
    return {"top-k": lambda: top_k(values, 50_000), "read": values.sum}


K, MOMENTUM, LR = 5_000, 0.9, 0.1


def our_server_step() -> Contender:
    velocity, error, mean = vector(RESNET9, 3)
    rule, memory, updates = SparseFed(k=K, momentum=MOMENTUM), Memory(velocity, error), Given(mean[None])
    return lambda: rule.step(updates, memory, LR)


def obvious_server_step() -> Contender:
    velocity, error, mean = vector(RESNET9, 3)

    def step() -> tuple[Tensor, Tensor, Tensor]:
        new_velocity = MOMENTUM * velocity + mean
        new_error = error + new_velocity
        chosen = torch.topk(new_error.abs(), K).indices
        delta = torch.zeros_like(new_error)
        delta[chosen] = new_error[chosen]
        new_velocity[chosen] = 0
        return LR * delta, new_velocity, new_error - delta

    return step


def rule_race(rule: TrimmedMean | Median | Krum | Bulyan) -> Mapping[str, Contender]:
    matrix = vector(RESNET9, CLIENTS)
    return {type(rule).__name__: lambda: rule.aggregate(dense(matrix)), "read": matrix.sum}


def bulyan_race() -> Mapping[str, Contender]:
    matrix = vector(RESNET9, CLIENTS)
    bulyan, krum = Bulyan(f=F), Krum(f=F)
    return {"Bulyan": lambda: bulyan.aggregate(dense(matrix)), "Krum": lambda: krum.aggregate(dense(matrix))}


def sketch_race() -> Mapping[str, Contender]:
    (values,) = vector(RESNET9)
    sketch = CountSketch(rows=5, columns=500_000, size=RESNET9, seed=0)
    return {"sketch": lambda: sketch.top_k(sketch.accumulate(values), 50_000)}


def of_matrix(name: str) -> str:
    return f"{name}, n = {CLIENTS}, d = 6.57 M / one read pass of the matrix"


STEP = "server step, d = 6.57 M, k = 5e3 / obvious torch"
ROWS = {
    "top_k": Row("top-k, d = 40 M, k = 5e4 / one read pass", Goal("≤", 2.5), top_k_race),
    "server_step": Row(
        f"{STEP} in a process that gives memory back to the system, as PyTorch does by default",
        Goal("≤", 0.1),
        lambda: {"ours": our_server_step(), "torch": elsewhere(obvious_server_step)},
    ),
    "server_step_kept": Row(
        f"{STEP}, both with `keep_large_blocks`",
        None,
        lambda: {"ours": our_server_step(), "torch": obvious_server_step()},
    ),
    "trimmed_mean": Row(of_matrix("trimmed mean"), Goal("≤", 8), lambda: rule_race(TrimmedMean(f=F))),
    "median": Row(of_matrix("median"), Goal("≤", 7), lambda: rule_race(Median())),
    "krum": Row(of_matrix("Krum"), Goal("≤", 10), lambda: rule_race(Krum(f=F))),
    "bulyan": Row(
        "Bulyan / Krum, n = 100, d = 6.57 M",
        Goal("≤", 1.4),
        bulyan_race,
        note="its second stage is half a median, 3 reads, whatever Krum takes; Krum has become faster",
    ),
    "bulyan_read": Row(of_matrix("Bulyan"), Goal("≤", 14), lambda: rule_race(Bulyan(f=F))),
    "sketch": Row(
        "sketch 5 × 500k, d = 6.57 M: accumulate + unsketch + top-k", Goal("≤", 60, "ms"), sketch_race
    ),
}

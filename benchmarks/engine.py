"""A whole SparseFed round of 100 clients against one ordinary training step on their examples.

The floor is the fastest plain float32 step among {channels first, channels last} × {whole batch, chunks of
100 examples}: forward and backward of the mean loss, without an optimizer. `python -m benchmarks engine`
races them; `python -m benchmarks.engine` measures peak memory, each contender in a process of its own.
"""

import copy
import multiprocessing
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.harness import Contender, Goal, Result, Row, append
from benchmarks.machine import machine
from sparsefed.clients import FedAvg, Gradient, LocalData, Work
from sparsefed.clients.loop import Loop
from sparsefed.core.allocator import keep_large_blocks
from sparsefed.data import IID, Npz
from sparsefed.defenses import SparseFed
from sparsefed.federation.experiment import Experiment
from sparsefed.models import CNN, MLP, Model, ResNet9
from sparsefed.models.network import Network
from sparsefed.protocol.clips import FixedClip
from sparsefed.protocol.schedules import Constant
from sparsefed.runs.simulate import play

CLIENTS, CLIP, LR = 100, 1.0, 0.1
COLOR, GRAY = (3, 32, 32), (1, 28, 28)


def work_of(model: Model, shape: tuple[int, ...], examples: int) -> Work:
    """A cohort with random images and labels."""
    draw = torch.Generator().manual_seed(0)
    network = model.network(shape, 10, seed=0)
    inputs = torch.randn(CLIENTS * examples, *shape, generator=draw)
    labels = torch.randint(10, (len(inputs),), generator=draw)
    data = LocalData(np.arange(CLIENTS), inputs, labels, np.full(CLIENTS, examples))
    return Work(network, network.vector(), data, lr=LR, seed=0, round=1)


def sparsefed_round(work: Work, k: int) -> Contender:
    """Clip, mean, momentum, error feedback, top-k, step."""
    rule = SparseFed(k=k, momentum=0.9)
    server = SimpleNamespace(params=work.params, memory=rule.init(work.params))

    def run() -> None:
        updates = Gradient().updates(work._replace(params=server.params)).admitted(CLIP)
        delta, server.memory = rule.step(updates, server.memory, LR)
        server.params = server.params - delta

    return run


def plain_step(work: Work, layout: torch.memory_format, chunk: int) -> Contender:
    """Forward and backward of the mean loss in the parameters' own layout."""
    module = copy.deepcopy(work.network.module).to(memory_format=layout)
    network = Network(module)
    inputs, labels = work.data.inputs.to(memory_format=layout), work.data.labels

    def loss(part: tuple[Tensor, Tensor]) -> Tensor:
        return functional.cross_entropy(module(part[0]), part[1], reduction="sum") / len(labels)

    def run() -> None:
        for part in zip(inputs.split(chunk), labels.split(chunk), strict=True):
            loss(part).backward()
        for parameter in network.parameters:
            parameter.grad = None

    return run


def against_the_floor(model: Model, shape: tuple[int, ...], examples: int, k: int) -> Mapping[str, Contender]:
    work = work_of(model, shape, examples)
    floors = {
        f"{layout_name}, {cut}": plain_step(work, layout, chunk)
        for layout_name, layout in (("NCHW", torch.contiguous_format), ("NHWC", torch.channels_last))
        for cut, chunk in (("whole", CLIENTS * examples), ("chunks", 100))
    }
    return {"round": sparsefed_round(work, k), **floors}


def played(examples: int, k: int) -> Contender:
    """A round as `sparsefed run` plays it: with its data from 6,000 images, its report and its row."""
    draw = np.random.default_rng(0)
    x = draw.integers(256, size=(60 * CLIENTS, *GRAY), dtype=np.uint8)
    y = draw.permutation(len(x)) % 10
    with TemporaryDirectory() as folder:
        np.savez(path := Path(folder) / "images.npz", x_train=x, y_train=y, x_test=x[:10], y_test=y[:10])
        experiment = Experiment(
            rounds=1_000_000,
            cohort=CLIENTS,
            data=Npz(path=path),
            partition=IID(clients=len(x) // examples),
            model=MLP(),
            schedule=Constant(value=LR),
            clip=FixedClip(norm=CLIP),
            defense=SparseFed(k=k, momentum=0.9),
        )
        rounds = play(experiment, threads=torch.get_num_threads())
        next(rounds)
    return lambda: next(rounds)


def played_against_the_round(examples: int, k: int) -> Mapping[str, Contender]:
    work = work_of(MLP(), GRAY, examples)
    return {"played": played(examples, k), "round": sparsefed_round(work, k)}


def rows_against_the_sum(model: Model, shape: tuple[int, ...]) -> Mapping[str, Contender]:
    source = Gradient().updates(work_of(model, shape, 5)).source
    return {"rows": source.rows, "sum": lambda: source.reduce(CLIP)}


def fedavg_against_the_loop(model: Model, shape: tuple[int, ...]) -> Mapping[str, Contender]:
    work, clients = work_of(model, shape, 20), FedAvg(local_epochs=2, batch_size=10, local_lr=0.1)
    loop = Loop(work, clients.one)
    return {
        "sparsefed": lambda: clients.updates(work).admitted(CLIP).sum(),
        "loop": lambda: loop.reduce(CLIP),
    }


ROUND = "SparseFed round / floor step, 100 ×"
ROWS = {
    "engine_resnet9": Row(
        f"{ROUND} 5, ResNet9, k = 50,000",
        Goal("≤", 1.1),
        partial(against_the_floor, ResNet9(), COLOR, 5, 50_000),
        seconds=120,
    ),
    "engine_resnet9_narrow": Row(
        f"{ROUND} 5, ResNet9 of width 16",
        Goal("≤", 1.15),
        partial(against_the_floor, ResNet9(width=16), COLOR, 5, 5_000),
        seconds=40,
    ),
    "engine_cnn": Row(
        f"{ROUND} 5, small CNN", Goal("≤", 1.15), partial(against_the_floor, CNN(), GRAY, 5, 5_000)
    ),
    "engine_mlp": Row(
        f"{ROUND} 6, MLP 784-200-200-10", None, partial(against_the_floor, MLP(), GRAY, 6, 1_000)
    ),
    "engine_mlp_played": Row(
        "round as `sparsefed run` plays it / SparseFed round, 100 × 6, MLP 784-200-200-10",
        None,
        partial(played_against_the_round, 6, 1_000),
    ),
    "engine_rows_cnn": Row(
        "all rows / clipped sum, small CNN", None, partial(rows_against_the_sum, CNN(), GRAY)
    ),
    "engine_rows_mlp": Row("all rows / clipped sum, MLP", None, partial(rows_against_the_sum, MLP(), GRAY)),
    "fedavg_mlp": Row(
        "FedAvg of 4 local steps: times faster than the loop, MLP",
        Goal("≥", 1),
        partial(fedavg_against_the_loop, MLP(), GRAY),
    ),
    "fedavg_cnn": Row(
        "FedAvg of 4 local steps: times faster than the loop, small CNN",
        Goal("≥", 1),
        partial(fedavg_against_the_loop, CNN(), GRAY),
    ),
}


def a_round(work: Work) -> Contender:
    return sparsefed_round(work, 50_000)


def a_step(work: Work) -> Contender:
    return plain_step(work, torch.channels_last, CLIENTS * 5)


def peak_megabytes(prepare: Callable[[Work], Contender]) -> float:
    """Peak memory of three rounds beyond what the process held before the first, trial included."""
    keep_large_blocks()
    work = work_of(ResNet9(), COLOR, 5)
    functional.conv2d(work.data.inputs[:1], torch.ones(1, 3, 3, 3))  # the library's own memory
    return peak_of(lambda: prepare(work))


def peak_of(prepare: Callable[[], Contender]) -> float:
    """Peak memory, in MiB, of three runs of a contender beyond what the process held before the first."""
    run, before = prepare(), status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    for _ in range(3):
        run()
    return status("VmHWM") - before


def status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


def large_client(prepare: Callable[[Work], Contender]) -> float:
    """Peak memory of a round of one client with 1,000 images, small CNN; without the engine's trial."""
    work = work_of(CNN(), GRAY, 10)
    some = work._replace(data=work.data.of(np.arange(CLIENTS) < 4))
    prepare(some)()
    Gradient().updates(some).sum()  # compiled kernels
    data = work.data._replace(clients=np.arange(1), sizes=np.array([len(work.data.labels)]))
    return peak_of(lambda: prepare(work._replace(data=data)))


def whole_step(work: Work) -> Contender:
    return plain_step(work, torch.channels_last, len(work.data.labels))


MEMORY = {
    "engine_memory": (
        Row("peak memory, ResNet9 100 × 5: SparseFed round / plain whole-batch step", Goal("≤", 0.6), dict),
        partial(peak_megabytes, a_round),
        partial(peak_megabytes, a_step),
    ),
    "client_memory": (
        Row(
            "peak memory, a client of 1,000 images, CNN: round / plain whole-batch step", Goal("≤", 0.6), dict
        ),
        partial(large_client, a_round),
        partial(large_client, whole_step),
    ),
}


def main() -> None:
    for name, (row, *contenders) in MEMORY.items():
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            round_peak, step_peak = pool.map(_call, contenders, chunksize=1)
        peaks, ratio = {"round": round_peak, "step": step_peak}, round_peak / step_peak
        append("engine", name, Result(row, peaks, peaks, ratio, ratio, ratio, repeats=1), machine())
        print(f"{row.title}: {round_peak:.0f} MB / {step_peak:.0f} MB = {ratio:.2f} (goal {row.goal})")


def _call(peak: Callable[[], float]) -> float:
    return peak()


if __name__ == "__main__":
    main()

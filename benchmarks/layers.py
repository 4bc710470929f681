"""Layers and clients off the main path: against what computed them before, or would otherwise.

Rows called `norms_…` time both ways to measure a client's gradient where they cost about the same, and the
one that is chosen: all pairs of the client's rows, or the gradient itself.
"""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.harness import Contender, Goal, Row
from sparsefed.clients import Gradient, LocalData, Work
from sparsefed.clients.batched import Batched, Engine
from sparsefed.clients.ghost.affine import form, pairs_are_cheaper, squares_by_pairs
from sparsefed.clients.ghost.base import Outer, Words, squared_norms
from sparsefed.clients.ghost.conv import pixel_pairs_are_cheaper
from sparsefed.clients.ghost.patches import direct_sums, gram_products
from sparsefed.clients.ghost.tied import by_forming, by_pairs, pairs_of_calls_are_cheaper
from sparsefed.clients.loop import Loop
from sparsefed.clients.vmapped import vmapped_pass
from sparsefed.kernels.patches import Geometry
from sparsefed.models import LSTM
from sparsefed.models.network import Network

CLIP, WORDS = 1.0, 80


class Characters(nn.Module):
    """Characters to logits by way of a recurrent layer."""

    def __init__(self, kind: type[nn.RNNBase], hidden: int = 64) -> None:
        super().__init__()
        self.embedding, self.cell = nn.Embedding(WORDS, 8), kind(8, hidden, batch_first=True)
        self.decoder = nn.Linear(hidden, WORDS)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.decoder(self.cell(self.embedding(tokens))[0])


def group_norm_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.GroupNorm(4, 32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.GroupNorm(4, 64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 49, 10),
    )  # fmt: skip


def depthwise_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1, groups=32), nn.Conv2d(32, 64, 1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 49, 10),
    )  # fmt: skip


def sequence_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(2),
        nn.Conv1d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool1d(4),
        nn.Conv1d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool1d(4),
        nn.Flatten(), nn.Linear(64 * 49, 10),
    )  # fmt: skip


def images(build: Callable[[], nn.Module], clients: int = 100, examples: int = 5) -> Work:
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(clients * examples, 1, 28, 28, generator=draw)
    return work_of(build, inputs, torch.randint(10, (len(inputs),), generator=draw), clients)


def windows(build: Callable[[], nn.Module], clients: int, examples: int) -> Work:
    draw = torch.Generator().manual_seed(0)
    tokens = torch.randint(WORDS, (clients * examples, 80), generator=draw)
    return work_of(build, tokens, tokens.roll(-1, 1), clients)


def work_of(build: Callable[[], nn.Module], inputs: Tensor, labels: Tensor, clients: int) -> Work:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Network(build())
    data = LocalData(np.arange(clients), inputs, labels, np.full(clients, len(inputs) // clients))
    return Work(network, network.vector(), data, lr=0.1, seed=0, round=1)


def small_lstm() -> nn.Module:
    return LSTM(embedding=8, hidden=8, layers=1).network((80,), WORDS, seed=0).module


def against_the_loop(work: Work) -> Mapping[str, Contender]:
    loop = Loop(work, Gradient().one)
    return {"sparsefed": ours(work), "loop": lambda: loop.reduce(CLIP)}


def against_torch_func(work: Work) -> Mapping[str, Contender]:
    source = Batched(work, engine=Engine(vmapped_pass, examples=200))
    return {"sparsefed": ours(work), "torch.func": lambda: source.reduce(CLIP)}


def ours(work: Work) -> Contender:
    return lambda: Gradient().updates(work).admitted(CLIP).sum()


def alone(work: Work) -> Mapping[str, Contender]:
    return {"sparsefed": ours(work)}


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def chosen(cheaper: bool, pairs: Contender, formed: Contender) -> Mapping[str, Contender]:
    return {"chosen": pairs if cheaper else formed, "pairs": pairs, "formed": formed}


def affine_norms(rows: int, fan_ins: tuple[int, ...], units: int) -> Mapping[str, Contender]:
    dz, xs = random(20, rows, units), [random(20, rows, fan_in) for fan_in in fan_ins]
    return chosen(
        pairs_are_cheaper(rows, sum(fan_ins), units),
        lambda: squares_by_pairs(dz, xs, 1),
        lambda: sum(squared_norms(form(dz, x)) for x in xs),
    )


def conv_norms(side: int, channels: int) -> Mapping[str, Contender]:
    x, dy = random(50, channels, side, side), random(50, channels, side, side)
    geometry = Geometry((3, 3), (1, 1), (1, 1), (1, 1), True)
    return chosen(
        pixel_pairs_are_cheaper(5 * side * side, channels, channels, 9),
        lambda: gram_products(geometry, x, dy, 10),
        lambda: squared_norms(direct_sums(geometry, x, dy, 10)),
    )


def tied_inner(rows: int, units: int, width: int) -> Mapping[str, Contender]:
    decoder = Outer(random(10, rows, units), random(10, rows, width))
    draw = torch.Generator().manual_seed(1)
    words = Words(torch.randint(units, (10, rows), generator=draw), random(10, rows, width))
    return chosen(
        pairs_of_calls_are_cheaper(decoder, words),
        lambda: by_pairs(decoder, words),
        lambda: by_forming(decoder, words),
    )


FASTER, BEST = Goal("≥", 1), Goal("≤", 1.5)
ROWS = {
    "client_200_windows": Row(
        "a client of 200 windows of 80, LSTM of 8 units / the literal loop",
        Goal("≤", 1.2),
        lambda: against_the_loop(windows(small_lstm, 1, 200)),
        seconds=10,
    ),
    "client_3743_windows": Row(
        "a client of 3,743 windows of 80 (LEAF's average), LSTM of 8 units",
        Goal("≤", 3000, "ms"),
        lambda: alone(windows(small_lstm, 1, 3743)),
        seconds=10,
    ),
    **{
        f"round_{kind.__name__.lower()}": Row(
            f"round of 100 × 2 windows of 80, {kind.__name__} of 64: times faster than the literal loop",
            FASTER,
            lambda kind=kind: against_the_loop(windows(partial(Characters, kind), 100, 2)),
        )
        for kind in (nn.GRU, nn.RNN, nn.LSTM)
    },
    **{
        f"round_{name}": Row(
            f"round of 100 × 5, {title}: times faster than `torch.func`",
            FASTER,
            lambda build=build: against_torch_func(images(build)),
        )
        for name, title, build in (
            ("group_norm", "CNN with group normalization", group_norm_cnn),
            ("depthwise", "CNN with a depthwise convolution", depthwise_cnn),
            ("conv1d", "CNN on sequences of 784", sequence_cnn),
        )
    },
    **{
        f"norms_linear_{rows}": Row(
            f"norms of a linear layer 256 → 256, {rows} rows a client: chosen way / the better one",
            BEST,
            partial(affine_norms, rows, (256,), 256),
            seconds=4,
        )
        for rows in (32, 128, 512)
    },
    **{
        f"norms_lstm_{rows}": Row(
            f"norms of an LSTM of 64 units, {rows} time steps a client: chosen way / the better one",
            BEST,
            partial(affine_norms, rows, (64, 64), 256),
            seconds=4,
        )
        for rows in (20, 80, 320)
    },
    **{
        f"norms_conv_{side}": Row(
            f"norms of a convolution 64 → 64, 5 images of {side} × {side}: chosen way / the better one",
            BEST,
            partial(conv_norms, side, 64),
            seconds=4,
        )
        for side in (4, 8, 16)
    },
    **{
        f"norms_tied_{rows}": Row(
            f"tied decoder, 1,000 words of 64, {rows} tokens a client: chosen way / the better one",
            BEST,
            partial(tied_inner, rows, 1000, 64),
            seconds=4,
        )
        for rows in (100, 1000, 4000)
    },
}

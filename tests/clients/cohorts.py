"""Small cohorts and small modules of every layer type, for the tests of the client engines."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sparsefed.clients import LocalData, Work
from sparsefed.clients.gradient import Gradient
from sparsefed.clients.loop import Loop
from sparsefed.models.network import IGNORED, Network
from sparsefed.protocol.lazy import Source

RAGGED = (3, 1, 5, 2, 2, 4, 7)
CLASSES = 5

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")),
]
on_every_device = pytest.mark.parametrize("device", DEVICES)


def work_of(
    network: Network, inputs: Tensor, labels: Tensor, *, sizes=RAGGED, device="cpu", dtype=torch.float64
) -> Work:
    """One round's orders to clients of these sizes."""
    network.module.to(device, dtype)
    data = LocalData(
        np.arange(len(sizes)), network.as_precise(inputs).to(device), labels.to(device), np.array(sizes)
    )
    return Work(network, network.vector(), data, lr=0.1, seed=3, round=1)


def image_work(module: nn.Module, shape=(2, 6, 6), sizes=RAGGED, device="cpu", dtype=torch.float64) -> Work:
    """Clients with random inputs of a shape, and labels."""
    draw = torch.Generator().manual_seed(1)
    inputs = torch.randn(sum(sizes), *shape, generator=draw, dtype=torch.float64)
    labels = torch.randint(CLASSES, (sum(sizes),), generator=draw)
    return work_of(Network(module), inputs, labels, sizes=sizes, device=device, dtype=dtype)


def token_work(module: nn.Module, words=11, sizes=RAGGED, *, device="cpu", dtype=torch.float64) -> Work:
    """Clients with random sentences, a fifth of whose labels are ignored, and all of the second client's."""
    draw = torch.Generator().manual_seed(2)
    tokens, labels = (torch.randint(words, (sum(sizes), 6), generator=draw) for _ in range(2))
    labels[torch.rand(labels.shape, generator=draw) < 0.2] = IGNORED
    if len(sizes) > 1:
        labels[sizes[0] : sizes[0] + sizes[1]] = IGNORED
    return work_of(Network(module), tokens, labels, sizes=sizes, device=device, dtype=dtype)


def loop_of(work: Work, weight_decay: float = 0.0) -> Loop:
    """The literal loop."""
    return Loop(work, Gradient(weight_decay=weight_decay).one)


def assert_equal_sources(truth: Source, found: Source, tolerance: float = 1e-12) -> None:
    """Norms, clipped sums and rows agree, relative to their own size; the clip shortens about half."""
    norms, _ = truth.reduce(math.inf)
    for clip_norm in (math.inf, float(norms.nanmedian())):
        (norms, total), (found_norms, found_total) = truth.reduce(clip_norm), found.reduce(clip_norm)
        torch.testing.assert_close(found_norms, norms, rtol=tolerance, atol=0, equal_nan=True)
        assert (found_total - total).norm() <= tolerance * total.norm()
    rows, found_rows = truth.rows(), found.rows()
    assert found_rows.is_contiguous()
    torch.testing.assert_close(
        found_rows, rows, rtol=0, atol=tolerance * float(rows.nan_to_num().abs().max()), equal_nan=True
    )


def softmax_gradient(weight: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """∇W of the mean cross entropy of softmax(W x), in closed form."""
    logits = x @ weight.T
    chances = np.exp(logits - logits.max(1, keepdims=True))
    chances /= chances.sum(1, keepdims=True)
    return (chances - np.eye(len(weight))[y]).T @ x / len(y)


def conv(*arguments, **settings) -> nn.Module:
    """A convolution between others, so that its input has a gradient too."""
    return nn.Sequential(nn.Conv2d(2, 3, 1), nn.Conv2d(3, *arguments, **settings), nn.ReLU(), head())


def head() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(CLASSES))


class Sentences(nn.Module):
    """Tokens to logits by way of a recurrent layer, its states and its last state."""

    def __init__(
        self, kind: type[nn.RNNBase] = nn.LSTM, tied: bool = False, padding: int | None = None, **settings
    ) -> None:
        super().__init__()
        self.directions = 2 if settings.get("bidirectional") else 1
        self.embedding = nn.Embedding(11, 4, padding_idx=padding)
        self.cell = kind(4, 4 // self.directions, **settings)
        self.decoder = nn.Linear(4, 11, bias=not tied)
        if tied:
            self.decoder.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        states = self.embedding(tokens)
        if self.cell.batch_first:
            states, last = self.cell(states)
        else:
            states, last = self.cell(states.transpose(0, 1))
            states = states.transpose(0, 1)
        h, c = last if isinstance(last, tuple) else (last, last)
        ends = torch.cat([*(h * c)[-self.directions :]], dim=1)
        return self.decoder(states + ends[:, None])


class Twice(nn.Module):
    """One linear layer used two times, and an embedding used two times."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.layer, self.decoder = nn.Embedding(11, 4), nn.Linear(4, 4), nn.Linear(4, 11)

    def forward(self, tokens: Tensor) -> Tensor:
        first, second = self.words(tokens), self.words(tokens.flip(1))
        return self.decoder(self.layer(torch.tanh(self.layer(first) + second)))


class ConvTwice(nn.Module):
    """One convolution used two times."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(2, 2, 3, padding=1), head()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(torch.tanh(self.conv(x))))


class NormTwice(nn.Module):
    """One normalization used two times."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head = nn.GroupNorm(1, 2), head()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(torch.tanh(self.norm(x))))


def stacked(*parts: nn.Module) -> nn.Module:
    """Layers with activations between them and a head behind."""
    return nn.Sequential(*(nn.Sequential(part, nn.Tanh()) for part in parts), head())


IMAGE_LAYERS = {
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(72, 7), nn.Tanh(), nn.Linear(7, CLASSES)),
    "linear without bias": lambda: nn.Sequential(nn.Flatten(), nn.Linear(72, CLASSES, bias=False)),
    "linear on every row": lambda: stacked(nn.Linear(6, 4)),
    "linear narrower than its rows": lambda: stacked(nn.Flatten(2), nn.Linear(36, 2)),
    "in-place activation": lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(inplace=True), head()),
    "conv 3x3": lambda: conv(4, 3, padding=1),
    "conv 3x3 without bias": lambda: conv(4, 3, padding=1, bias=False),
    "conv 5x5 without padding": lambda: conv(4, 5),
    "conv 1x1": lambda: conv(4, 1),
    "conv with stride": lambda: conv(4, 3, stride=2, padding=1),
    "conv with uneven strides": lambda: conv(4, (3, 2), stride=(1, 3), padding=(2, 1)),
    "conv with dilation": lambda: conv(4, 3, dilation=2, padding=2),
    "conv with same padding": lambda: conv(4, 3, padding="same"),
    "wide conv": lambda: stacked(nn.Conv2d(2, 24, 3, 3), nn.Conv2d(24, 30, 3, padding=1)),
    "wide conv without bias": lambda: stacked(nn.Conv2d(2, 24, 3, 3), nn.Conv2d(24, 30, 2, bias=False)),
    "wide conv with stride and dilation": lambda: stacked(
        nn.Conv2d(2, 40, 3, padding=1), nn.Conv2d(40, 40, 3, stride=4, dilation=2, padding=3)
    ),
    "deep conv with groups": lambda: stacked(
        nn.Conv2d(2, 40, 3, 3), nn.Conv2d(40, 80, 3, padding=1, groups=2)
    ),
    "conv with groups": lambda: stacked(nn.Conv2d(2, 6, 3), nn.Conv2d(6, 4, 3, groups=2, padding=1)),
    "depthwise conv": lambda: stacked(nn.Conv2d(2, 6, 3), nn.Conv2d(6, 12, 3, groups=6, bias=False)),
    "conv with circular padding": lambda: conv(4, 3, padding=1, padding_mode="circular"),
    "conv with reflected padding": lambda: conv(4, 3, padding=(2, 1), padding_mode="reflect", stride=2),
    "conv used twice": ConvTwice,
    "conv on sequences": lambda: stacked(nn.Flatten(2), nn.Conv1d(2, 6, 5, 2, 1), nn.Conv1d(6, 20, 3)),
    "conv on padded sequences": lambda: stacked(
        nn.Flatten(2), nn.Conv1d(2, 4, 4, groups=2, padding="same", padding_mode="replicate", dilation=3)
    ),
    "transposed conv": lambda: stacked(nn.ConvTranspose2d(2, 3, 3, (2, 3), 1, (1, 0))),
    "wide transposed conv": lambda: stacked(
        nn.Conv2d(2, 24, 3, 3), nn.ConvTranspose2d(24, 40, 3, padding=1, groups=2)
    ),
    "transposed conv on sequences": lambda: stacked(
        nn.Flatten(2), nn.ConvTranspose1d(2, 4, 4, 3, 2, 1, 2, dilation=2)
    ),
    "group norm": lambda: stacked(nn.Conv2d(2, 6, 3), nn.GroupNorm(3, 6), nn.GroupNorm(1, 6)),
    "group norm used twice": NormTwice,
    "instance norm": lambda: stacked(nn.Conv2d(2, 3, 3), nn.InstanceNorm2d(3, affine=True)),
    "rms norm": lambda: stacked(nn.RMSNorm(6), nn.RMSNorm([6, 6])),
    "layer norm on images": lambda: stacked(nn.Conv2d(2, 3, 3), nn.LayerNorm([3, 4, 4])),
    "layer norm on rows": lambda: stacked(nn.LayerNorm(6, bias=False), nn.LayerNorm([6, 6])),
}

TOKEN_LAYERS = {
    "lstm": lambda: Sentences(batch_first=True),
    "lstm, time first": Sentences,
    "lstm without bias": lambda: Sentences(batch_first=True, bias=False),
    "lstm of two layers": lambda: Sentences(batch_first=True, num_layers=2),
    "lstm in both directions": lambda: Sentences(batch_first=True, num_layers=2, bidirectional=True),
    "gru": lambda: Sentences(nn.GRU, batch_first=True),
    "gru, time first, without bias": lambda: Sentences(nn.GRU, bias=False),
    "gru in both directions": lambda: Sentences(nn.GRU, batch_first=True, num_layers=2, bidirectional=True),
    "rnn": lambda: Sentences(nn.RNN, batch_first=True, num_layers=2),
    "rnn with relu": lambda: Sentences(nn.RNN, nonlinearity="relu", bidirectional=True, bias=False),
    "padding token": lambda: Sentences(batch_first=True, padding=3),
    "tied decoder": lambda: Sentences(batch_first=True, tied=True),
    "tied decoder with padding token": lambda: Sentences(batch_first=True, tied=True, padding=3),
    "layers used twice": Twice,
}


def layer_work(name: str, sizes=RAGGED, device="cpu", dtype=torch.float64) -> Work:
    """A cohort for one of the modules above."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if name in TOKEN_LAYERS:
            return token_work(TOKEN_LAYERS[name](), sizes=sizes, device=device, dtype=dtype)
        module = IMAGE_LAYERS[name]()
        module(torch.zeros(1, 2, 6, 6))  # lazy heads learn their width
        return image_work(module, sizes=sizes, device=device, dtype=dtype)


every_layer = pytest.mark.parametrize("layer", [*IMAGE_LAYERS, *TOKEN_LAYERS])

"""The batched engine equals the literal loop whatever the settings of a layer."""

import pytest
import torch
from cohorts import CLASSES, Sentences, assert_equal_sources, head, image_work, loop_of, token_work
from hypothesis import assume, given, settings, strategies as st
from torch import nn

from sparsefed.clients.batched import Batched

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
few = settings(max_examples=25, deadline=None)
sizes = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


def sides(dimensions: int, low: int, high: int):
    return st.tuples(*[st.integers(low, high)] * dimensions)


@st.composite
def convolutions(draw, dimensions: int):
    """A convolution of any setting that PyTorch has, of two to eight channels."""
    groups = draw(st.sampled_from([1, 2]))
    channels, units = groups * draw(st.integers(1, 4)), groups * draw(st.sampled_from([1, 2, 10]))
    settings = {
        "kernel_size": draw(sides(dimensions, 1, 3)),
        "stride": draw(sides(dimensions, 1, 3)),
        "dilation": draw(sides(dimensions, 1, 2)),
        "groups": groups,
        "bias": draw(st.booleans()),
    }
    if draw(st.booleans()):
        settings["padding_mode"] = draw(st.sampled_from(["zeros", "circular", "reflect", "replicate"]))
        settings["padding"] = draw(st.one_of(sides(dimensions, 0, 2), st.sampled_from(["valid", "same"])))
        if settings["padding"] == "same":
            settings["stride"] = 1
        return (nn.Conv1d, nn.Conv2d)[dimensions - 1](channels, units, **settings)
    settings["padding"] = draw(sides(dimensions, 0, 1))
    rooms = zip(
        *[
            (part,) * dimensions if isinstance(part, int) else part
            for part in (settings["stride"], settings["dilation"])
        ],
        strict=True,
    )
    settings["output_padding"] = tuple(draw(st.integers(0, max(room) - 1)) for room in rooms)
    return (nn.ConvTranspose1d, nn.ConvTranspose2d)[dimensions - 1](channels, units, **settings)


def assert_the_engine_equals_the_loop(layer: nn.Module, shape: tuple[int, ...], sizes: tuple[int, ...]):
    module = nn.Sequential(layer, nn.Tanh(), head()).double()
    try:
        module(torch.zeros(1, *shape).double())
    except RuntimeError:  # the images are too small for it
        assume(False)
    work = image_work(module, shape, sizes)
    assert_equal_sources(loop_of(work, 0.1), Batched(work, 0.1), tolerance=1e-10)


@few
@given(convolutions(2), sizes, st.tuples(st.integers(3, 6), st.integers(3, 6)))
def test_convolutions_of_images(layer: nn.Module, sizes, image):
    assert_the_engine_equals_the_loop(layer, (layer.in_channels, *image), sizes)


@few
@given(convolutions(1), sizes, st.integers(3, 9))
def test_convolutions_of_sequences(layer: nn.Module, sizes, length):
    assert_the_engine_equals_the_loop(layer, (layer.in_channels, length), sizes)


NORMS = {
    "group norm": (lambda c: nn.GroupNorm(2 - c % 2, c), (3, 2)),
    "group norm of sequences": (lambda c: nn.GroupNorm(c, c), (5,)),
    "instance norm of sequences": (lambda c: nn.InstanceNorm1d(c, affine=True), (5,)),
    "instance norm of images": (lambda c: nn.InstanceNorm2d(c, affine=True), (3, 2)),
    "instance norm of volumes": (lambda c: nn.InstanceNorm3d(c, affine=True, eps=0.1), (2, 3, 2)),
    "layer norm": (lambda c: nn.LayerNorm([3, 2], bias=c % 2 == 0), (3, 2)),
    "rms norm": (lambda c: nn.RMSNorm([2], eps=0.1), (3, 2)),
}


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("channels", [1, 4])
def test_normalization_of_any_shape(name, channels):
    build, shape = NORMS[name]
    layer = build(channels)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-1, 1)
    assert_the_engine_equals_the_loop(layer, (channels, *shape), (3, 1, 2))


switches = st.fixed_dictionaries(dict.fromkeys(("bidirectional", "bias", "batch_first"), st.booleans()))


@few
@given(st.sampled_from([nn.LSTM, nn.GRU, nn.RNN]), st.integers(1, 3), switches, sizes)
def test_recurrent_layers(kind, layers, choice, sizes):
    work = token_work(Sentences(kind, num_layers=layers, **choice), sizes=sizes)
    assert_equal_sources(loop_of(work, 0.1), Batched(work, 0.1), tolerance=1e-10)


class StartsFromAState(nn.Module):
    """The initial state comes from another layer."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.first, self.cell = nn.Linear(6, 3), kind(6, 3, batch_first=True)
        self.last = nn.Linear(3, CLASSES)

    def forward(self, x):
        h = torch.tanh(self.first(x[:, 0]))[None]
        start = (h, h.sin()) if isinstance(self.cell, nn.LSTM) else h
        return self.last(self.cell(x, start)[0][:, -1])


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_an_initial_state_from_another_layer(kind):
    work = image_work(StartsFromAState(kind), (4, 6))
    assert_equal_sources(loop_of(work, 0.1), Batched(work, 0.1))


@pytest.mark.parametrize("rows", [1, 3, 40])
@pytest.mark.parametrize("kind", ["Linear", "LSTM", "Twice", "Tied"])
def test_norms_are_the_same_on_both_sides_of_the_break_even(kind, rows):
    build = {
        "Linear": lambda: nn.Sequential(nn.Embedding(11, 5), nn.Linear(5, 11)),
        "LSTM": lambda: Sentences(nn.LSTM, batch_first=True),
        "Twice": TwoTables,
        "Tied": lambda: Sentences(nn.GRU, batch_first=True, tied=True),
    }[kind]
    work = token_work(build(), sizes=(rows, 1, rows))
    assert_equal_sources(loop_of(work, 0.1), Batched(work, 0.1), tolerance=1e-11)


class TwoTables(nn.Module):
    """One weight as embedding two times and as decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.decoder = nn.Embedding(11, 4), nn.Linear(4, 11)
        self.decoder.weight = self.words.weight

    def forward(self, tokens):
        return self.decoder(torch.tanh(self.words(tokens) + self.words(tokens.flip(1)) ** 2))

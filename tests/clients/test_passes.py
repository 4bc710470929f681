"""A client with more data than memory allows at once goes through in several passes, with the same result."""

import math

import pytest
import torch
from cohorts import (
    CLASSES,
    assert_equal_sources,
    every_layer,
    head,
    image_work,
    layer_work,
)
from hypothesis import given, settings, strategies as st
from torch import nn

from sparsefed.clients import FedAvg, Gradient
from sparsefed.clients.loop import Loop
from sparsefed.models import passes
from sparsefed.models.network import IGNORED, Network


@pytest.fixture
def small_passes(monkeypatch):
    """Passes of at most four examples, as few as are cut at all."""
    monkeypatch.setattr(passes, "examples_per_pass", lambda module, inputs: 4)
    for user in ("sparsefed.models.network", "sparsefed.clients.trust"):
        monkeypatch.setattr(f"{user}.examples_per_pass", lambda module, inputs: 4)


def whole_gradient(network: Network, inputs, labels):
    """In one pass, by PyTorch alone."""
    logits = network.module(inputs)
    loss = nn.functional.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORED)
    return torch.cat([part.reshape(-1) for part in torch.autograd.grad(loss, network.parameters)])


def one_pass(work, position, examples):
    work.network.bind(work.params)
    return whole_gradient(work.network, work.data.inputs[examples], work.data.labels[examples])


def sizes_seen(module: nn.Module) -> list[int]:
    """Fills with the number of examples of every call of `module`."""
    seen: list[int] = []
    module.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    return seen


@every_layer
def test_large_clients_beside_small_ones_equal_the_loop_in_one_pass(layer, small_passes):
    work = layer_work(layer, sizes=(3, 1, 9, 2, 4, 13))
    assert_equal_sources(Loop(work, one_pass), Gradient().updates(work).source)


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(72, 9), nn.Tanh(), nn.Linear(9, CLASSES)),
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(48, CLASSES)),
    ],
)
@pytest.mark.parametrize("batch_size", [None, 3, 7])
def test_local_training_on_large_batches_equals_the_loop_in_one_pass(build, batch_size, small_passes):
    work, training = (
        image_work(build(), sizes=(3, 1, 9, 2, 13)),
        FedAvg(batch_size=batch_size, local_epochs=2),
    )
    found, seen = training.updates(work).rows(), sizes_seen(work.network.module)
    training.updates(work).rows()
    assert max(seen) <= 4
    work.network.gradient = lambda inputs, labels: whole_gradient(work.network, inputs, labels)
    torch.testing.assert_close(found, Loop(work, training.one).rows(), rtol=1e-11, atol=1e-15)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.floats(0, 1), st.integers(0, 99))
def test_gradient_and_loss_do_not_depend_on_the_passes(examples, most, ignored, seed):
    work = layer_work("lstm", sizes=(examples,))
    draw = torch.Generator().manual_seed(seed)
    work.data.labels[torch.rand(work.data.labels.shape, generator=draw) < ignored] = IGNORED
    network, batch = work.network, (work.data.inputs, work.data.labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sparsefed.models.network.examples_per_pass", lambda module, inputs: most)
        loss, gradient = network.loss(*batch), network.gradient(*batch)
    torch.testing.assert_close(gradient, whole_gradient(network, *batch), rtol=1e-11, atol=1e-15)
    torch.testing.assert_close(loss, network.loss(*batch), rtol=1e-12, atol=0, equal_nan=True)


class Centered(nn.Module):
    """Subtracts the mean of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.layer = nn.Parameter(torch.zeros(())), nn.Linear(72, CLASSES)

    def forward(self, x):
        x = x.flatten(1)
        return self.layer(x - self.gate * x.mean(0))


class CountsTheBatch(nn.Module):
    """Depends on how many examples there are, and on nothing of them."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(72, CLASSES)

    def forward(self, x):
        return self.layer(x.flatten(1)) / len(x)


@pytest.mark.parametrize(
    "build",
    [
        Centered,
        CountsTheBatch,
        lambda: nn.Sequential(nn.Flatten(), nn.Dropout(0.5), Centered()),
        lambda: nn.Sequential(nn.BatchNorm2d(2, affine=False, track_running_stats=False), head()),
    ],
)
def test_a_module_whose_examples_see_each_other_is_not_cut(build, small_passes):
    module = build()
    module(torch.ones(2, 2, 6, 6))
    work = image_work(module, sizes=(9,))
    network, seen = work.network, sizes_seen(work.network.module)
    torch.manual_seed(0)
    found = network.gradient(work.data.inputs, work.data.labels)
    assert seen[-1] == 9
    torch.manual_seed(0)
    assert torch.equal(found, whole_gradient(network, work.data.inputs, work.data.labels))


def test_dropout_is_cut_and_draws_the_same_every_time(small_passes):
    work = image_work(nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(72, CLASSES)), sizes=(3, 9))
    with pytest.warns(UserWarning, match="random"):
        first = Gradient().updates(work).rows()
    seen = sizes_seen(work.network.module)
    assert torch.equal(Gradient().updates(work).rows(), first)
    assert seen == [3, 4, 4, 1]


def test_what_a_pass_keeps_is_measured_and_bounds_it():
    module = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 784, 10))
    inputs = torch.zeros(8, 1, 28, 28)
    most = passes.bytes_per_pass(inputs.device)
    each = most / passes.examples_per_pass(module, inputs)
    assert 32 * 784 * 4 <= each <= 3 * 32 * 784 * 4
    wide = module.double(), inputs.double()
    assert passes.examples_per_pass(*wide) == pytest.approx(most / each / 2, rel=0.1)


def test_measuring_leaves_the_generators_alone():
    module, before = nn.Sequential(nn.Dropout(), nn.Linear(3, 2)), torch.get_rng_state()
    passes.examples_per_pass(module, torch.zeros(5, 3))
    assert passes.is_separable(module, torch.zeros(5, 3))
    assert torch.equal(torch.get_rng_state(), before)


def test_norms_of_large_clients_are_of_all_their_passes(small_passes):
    work = layer_work("conv 3x3", sizes=(11, 2))
    norms, _ = Gradient().updates(work).source.reduce(math.inf)
    work.network.bind(work.params)
    expected = whole_gradient(work.network, work.data.inputs[:11], work.data.labels[:11]).norm()
    assert float(norms[0]) == pytest.approx(float(expected), rel=1e-12)


def test_clients_of_many_windows_leave_the_unrolled_lstm():
    work = layer_work("lstm", sizes=(2, 40, 3))
    whole = sizes_seen(work.network.module)
    found = Gradient().updates(work).source
    assert_equal_sources(Loop(work, one_pass), found)
    whole.clear()
    found.reduce(1.0)
    assert sorted(whole) == [6, 40]

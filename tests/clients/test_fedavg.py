"""FedAvg clients: τ epochs of local SGD, against the pseudo-code on softmax regression in NumPy."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from cohorts import (
    CLASSES,
    RAGGED,
    Twice,
    assert_equal_sources,
    image_work,
    layer_work,
    on_every_device,
    softmax_gradient,
    token_work,
)
from torch import nn

from sparsefed.clients import FedAvg, Gradient, stacked as stacked_module
from sparsefed.clients.batched import Batched
from sparsefed.clients.loop import Loop
from sparsefed.clients.scaled import Scaled
from sparsefed.clients.stacked import Stacked


def softmax_work():
    return image_work(nn.Sequential(nn.Flatten(), nn.Linear(72, CLASSES, bias=False)))


def bounds():
    edges = np.cumsum((0, *RAGGED))
    return list(pairwise(edges))


def test_full_batches_are_gradient_descent():
    work = softmax_work()
    x, y = work.data.inputs.flatten(1).numpy(), work.data.labels.numpy()
    start = work.params.view(CLASSES, 72).numpy()
    rows = []
    for a, b in bounds():
        local, lr = start.copy(), 0.2
        for _ in range(3):
            local = local - lr * (softmax_gradient(local, x[a:b], y[a:b]) + 0.1 * local)
            lr *= 0.5
        rows.append((start - local).ravel())
    clients = FedAvg(local_epochs=3, local_lr=0.2, lr_decay=0.5, weight_decay=0.1)
    np.testing.assert_allclose(clients.updates(work).rows(), np.stack(rows), rtol=1e-11, atol=1e-14)


def test_one_full_epoch_is_one_gradient_step():
    work = layer_work("conv 3x3")
    moved, gradient = FedAvg().updates(work).rows(), Gradient().updates(work).rows()
    torch.testing.assert_close(moved, work.lr * gradient, rtol=1e-9, atol=1e-14)


def test_an_epoch_of_batches_sees_every_example_once():
    work = softmax_work()
    work.params.zero_()
    tiny = 1e-9  # so that every batch meets the same model, to first order
    batches = FedAvg(batch_size=2, local_lr=tiny).updates(work).rows()
    x, y = work.data.inputs.flatten(1).numpy(), work.data.labels.numpy()
    a, b = bounds()[3]  # two examples: one batch
    np.testing.assert_allclose(
        batches[3], tiny * softmax_gradient(np.zeros((CLASSES, 72)), x[a:b], y[a:b]).ravel(), rtol=1e-6
    )
    a, b = bounds()[5]  # four examples: two batches, each a mean over two
    np.testing.assert_allclose(
        batches[5], 2 * tiny * softmax_gradient(np.zeros((CLASSES, 72)), x[a:b], y[a:b]).ravel(), rtol=1e-6
    )


def test_the_order_of_batches_depends_on_seed_round_and_client_alone():
    work = softmax_work()
    clients = FedAvg(batch_size=2, local_epochs=2)
    rows = clients.updates(work).rows()
    assert torch.equal(clients.updates(work).rows(), rows)
    alone = work._replace(data=work.data.of(np.arange(len(RAGGED)) == 4))
    torch.testing.assert_close(clients.updates(alone).rows()[0], rows[4], rtol=1e-12, atol=1e-16)
    for other in (work._replace(seed=9), work._replace(round=2)):
        assert not torch.equal(clients.updates(other).rows()[6], rows[6])


@pytest.mark.parametrize(("local_lr", "server"), [(None, 1.0), (0.5, 0.3)])
def test_the_learning_rate_is_applied_once(local_lr, server):
    assert FedAvg(local_lr=local_lr).server_lr(0.3) == server


STACKED = ["linear", "linear without bias", "linear on every row", "layer norm on rows", "layers used twice"]
TRAININGS = [
    FedAvg(local_epochs=2),
    FedAvg(batch_size=2, local_epochs=2),
    FedAvg(batch_size=3, local_epochs=3, local_lr=0.3, lr_decay=0.7, weight_decay=0.1),
    FedAvg(batch_size=2, weight_decay=0.5),
]


@on_every_device
@pytest.mark.parametrize(
    "training",
    [FedAvg(local_lr=0.3), FedAvg(batch_size=100, weight_decay=0.5), FedAvg(local_lr=1e-30)],
    ids=repr,
)
@pytest.mark.parametrize("layer", ["conv 3x3", "linear", "lstm"])
def test_one_step_on_all_examples_is_a_multiple_of_the_batched_gradient(layer, training, device):
    work = layer_work(layer, device=device)
    source = training.updates(work).source
    assert isinstance(source.fast, Scaled)
    assert isinstance(source.fast.source, Batched)
    lr = training.local_lr or work.lr
    exact = Loop(work, Gradient(weight_decay=training.weight_decay).one)
    assert_equal_sources(Scaled(exact, lr), source)
    if lr > 1e-20:  # below, θ − (θ − u) leaves nothing of u
        assert_equal_sources(Loop(work, training.one), source, tolerance=1e-9)


def test_one_step_of_a_model_that_draws_is_the_literal_loop():
    work = image_work(nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(72, CLASSES)))
    with pytest.warns(UserWarning, match="random"):
        source = FedAvg().updates(work).source
    assert isinstance(source, Loop)
    assert torch.equal(source.rows(), Loop(work, FedAvg().one).rows())


def test_a_negative_learning_rate_goes_up_the_gradient():
    work = layer_work("linear")._replace(lr=-0.5)
    assert_equal_sources(Loop(work, FedAvg().one), FedAvg().updates(work).source, tolerance=1e-9)


def test_a_learning_rate_of_0_sends_updates_of_0():
    updates = FedAvg().updates(layer_work("linear")._replace(lr=0.0))
    assert not updates.admitted(1.0).sum().any()
    assert not updates.rows().any()


@on_every_device
@pytest.mark.parametrize("training", TRAININGS, ids=repr)
@pytest.mark.parametrize("layer", STACKED)
def test_stacked_local_training_equals_the_loop(layer: str, training: FedAvg, device: str):
    work = layer_work(layer, device=device)
    source = training.updates(work).source
    assert isinstance(source.fast, Stacked)
    assert_equal_sources(Loop(work, training.one), source)


@pytest.mark.parametrize("floats", [1, 1000])
def test_the_size_of_the_stacks_changes_nothing_but_rounding(floats: int, monkeypatch: pytest.MonkeyPatch):
    work, training = layer_work("linear"), TRAININGS[2]
    whole = Stacked(work, training).rows()
    monkeypatch.setattr(stacked_module, "FLOATS", floats)
    torch.testing.assert_close(Stacked(work, training).rows(), whole, rtol=1e-12, atol=1e-15)


def test_a_client_that_diverges_does_not_taint_the_sum_of_the_others():
    work, training = layer_work("linear"), TRAININGS[1]
    work.data.inputs[: RAGGED[0]] = np.inf
    found, truth = Stacked(work, training), Loop(work, training.one)
    norms, total = found.reduce(1e-3)
    assert not norms[0].isfinite()
    assert norms[1:].isfinite().all()
    torch.testing.assert_close(total, truth.reduce(1e-3)[1], rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(
    "work",
    [
        pytest.param(lambda: layer_work("conv 3x3"), id="a convolution"),
        pytest.param(lambda: layer_work("lstm"), id="an LSTM"),
        pytest.param(lambda: image_work(_Mixing()), id="examples that see each other"),
        pytest.param(lambda: image_work(_Centred(), sizes=(2, 2, 5, 4)), id="seen only where sizes differ"),
        pytest.param(
            lambda: image_work(nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(72, CLASSES))),
            id="dropout",
        ),
        pytest.param(lambda: token_work(Twice(), sizes=(3,)), id="a single client"),
    ],
)
def test_what_cannot_be_stacked_goes_through_the_loop(work):
    work, training = work(), TRAININGS[1]
    source = training.updates(work).source
    assert isinstance(source, Loop)
    assert source.rows().isfinite().all()


class _Mixing(nn.Module):
    """Reads a number out of the batch, which a stacked pass cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(72, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1)
        return self.layer(x * float(x.mean()))


class _Centred(nn.Module):
    """Subtracts the mean of the batch: a client by itself is right, and wrong beside padding."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(72, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1)
        return self.layer(x - x.mean(0))


def test_a_rate_of_zero_does_not_hide_what_a_module_does():
    work = image_work(_Centred())._replace(lr=0.0)
    assert isinstance(TRAININGS[1].updates(work).source, Loop)

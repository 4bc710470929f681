"""The batched engine equals the literal loop on every model of the project."""

import pytest
import torch
from cohorts import assert_equal_sources, loop_of, on_every_device, work_of

from sparsefed.clients import Gradient
from sparsefed.clients.batched import Batched
from sparsefed.models import CNN, LSTM, MLP, Linear, ResNet9, ResNet101

SIZES = (2, 1, 3, 5)
MODELS = [
    (Linear(), (1, 8, 8)),
    (MLP(hidden=(20, 10)), (1, 8, 8)),
    (CNN(width=4, hidden=8), (1, 12, 12)),
    (ResNet9(width=4), (3, 16, 16)),
    (ResNet9(width=8), (1, 28, 28)),
    (ResNet101(width=4, blocks=(1, 2, 2, 1)), (1, 20, 20)),
    (LSTM(embedding=8, hidden=8), (6,)),
    (LSTM(embedding=6, hidden=8, layers=1, tied=False), (6,)),
]
every_model = pytest.mark.parametrize(("model", "shape"), MODELS, ids=lambda value: str(value)[:24])


def model_work(model, shape, device="cpu", dtype=torch.float64):
    draw = torch.Generator().manual_seed(4)
    classes = 12
    network = model.network(shape, classes, seed=5)
    if len(shape) == 1:
        inputs = torch.randint(classes, (sum(SIZES), *shape), generator=draw)
        labels = torch.randint(classes, inputs.shape, generator=draw)
    else:
        inputs = torch.randn(sum(SIZES), *shape, generator=draw)
        labels = torch.randint(classes, (sum(SIZES),), generator=draw)
    return work_of(network, inputs, labels, sizes=SIZES, device=device, dtype=dtype)


@on_every_device
@every_model
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_a_gradient_client_uses_the_batched_engine_and_equals_the_loop(model, shape, weight_decay, device):
    work = model_work(model, shape, device)
    source = Gradient(weight_decay=weight_decay).updates(work).source.fast
    assert isinstance(source, Batched)
    assert_equal_sources(loop_of(work, weight_decay), source)


@on_every_device
@every_model
def test_single_precision_agrees_to_rounding(model, shape, device):
    work = model_work(model, shape, device, torch.float32)
    source = Gradient().updates(work).source
    assert_equal_sources(loop_of(work), source, tolerance=1e-3)


def test_dropout_goes_to_the_loop_with_one_warning():
    work = model_work(LSTM(embedding=8, hidden=8, dropout=0.5), (6,))
    with pytest.warns(UserWarning, match="LanguageModel cannot go .* random numbers"):
        first = Gradient().updates(work)
    assert torch.equal(first.sum(), loop_of(work).reduce(float("inf"))[1])
    assert torch.equal(Gradient().updates(work).sum(), first.sum())

"""Training in the span of few inputs: the same steps as the whole model takes."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

from sparsefed.models.network import IGNORED, Network
from sparsefed.models.span import Span


def chain(widths: list[int], bias: bool) -> Network:
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, units in pairwise(widths):
        layers += [nn.Linear(fan_in, units, bias=bias), nn.ReLU()]
    return Network(nn.Sequential(*layers[:-1]).double())


def trained(network: Network, inputs, labels, steps: int, lr: float):
    params = network.vector()
    local = params.clone()
    for _ in range(steps):
        network.bind(local)
        local = local - lr * network.gradient(inputs, labels)
    return local - params


@given(
    examples=st.integers(1, 12),
    widths=st.lists(st.integers(2, 9), min_size=2, max_size=4),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_steps_in_the_span_are_the_steps_of_the_whole_model_and_as_long(examples, widths, bias, seed):
    torch.manual_seed(seed)
    network = chain(widths, bias)
    params = network.vector()
    inputs = torch.randn(examples, widths[0], dtype=torch.float64)
    labels = torch.randint(widths[-1], (examples,))
    span = Span.of(network, params, inputs, labels)
    assert span is not None
    for _ in range(3):
        span.local.sub_(span.gradient(torch.arange(examples)), alpha=0.5)
    moved = span.local - span.start
    whole = trained(network, inputs, labels, 3, 0.5)
    torch.testing.assert_close(span.outward(moved), whole, rtol=1e-9, atol=1e-11)
    assert float(moved.norm()) == pytest.approx(float(whole.norm()), rel=1e-9)
    assert len(span.start) <= len(params)


def test_equal_examples_span_one_direction_and_train_alike():
    network = chain([6, 5, 3], bias=True)
    inputs = torch.ones(4, 6, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 0])
    span = Span.of(network, network.vector(), inputs, labels)
    assert span is not None
    step = span.outward(span.gradient(torch.tensor([1, 3])))
    network.bind(network.vector())
    torch.testing.assert_close(step, network.gradient(inputs[[1, 3]], labels[[1, 3]]))


class TwoPaths(nn.Sequential):
    def forward(self, inputs):
        return super().forward(inputs) + 1


def frozen_first() -> nn.Module:
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    module[0].requires_grad_(False)
    return module


def tied() -> nn.Module:
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    module[2].weight = module[0].weight
    return module


def hooked() -> nn.Module:
    module = nn.Sequential(nn.Linear(4, 2))
    module[0].register_forward_hook(lambda *_: None)
    return module


@pytest.mark.parametrize(
    "module",
    [
        TwoPaths(nn.Linear(4, 2)),
        frozen_first(),
        tied(),
        hooked(),
        nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)),
        nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.5)),
        nn.Linear(4, 2),
    ],
    ids=["own forward", "frozen", "tied", "hooked", "tanh", "dropout", "not a chain"],
)
def test_any_other_module_is_trained_as_a_whole(module):
    network = Network(module)
    assert Span.of(network, network.vector(), torch.randn(3, 4), torch.tensor([0, 1, 0])) is None


@pytest.mark.parametrize("labels", [torch.tensor([0, IGNORED, 1]), torch.zeros(3, 4, dtype=torch.int64)])
def test_labels_that_do_not_count_and_texts_are_trained_as_a_whole(labels):
    network = chain([4, 2], bias=True)
    inputs = torch.randn(3, 4, dtype=torch.float64)
    assert Span.of(network, network.vector(), inputs, labels) is None

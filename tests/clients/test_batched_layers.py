"""The batched engine equals the literal loop for every layer type it knows."""

import warnings

import pytest
import torch
from cohorts import (
    RAGGED,
    assert_equal_sources,
    every_layer,
    layer_work,
    loop_of,
    on_every_device,
)

from sparsefed.clients.batched import Batched, Engine
from sparsefed.clients.gradient import Gradient
from sparsefed.clients.trust import fastest


@on_every_device
@every_layer
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_batched_equals_the_loop(layer, weight_decay, device):
    work = layer_work(layer, device=device)
    assert_equal_sources(loop_of(work, weight_decay), Batched(work, weight_decay))


@every_layer
def test_no_layer_needs_a_slower_engine(layer):
    work = layer_work(layer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = fastest(work, 0.0, Gradient().one)
    assert isinstance(source, Batched)
    assert_equal_sources(loop_of(work), source)


@every_layer
@pytest.mark.parametrize("sizes", [(1,), (4,), (2, 2, 2)])
def test_one_client_and_equal_clients_are_nothing_special(layer, sizes):
    work = layer_work(layer, sizes=sizes)
    assert_equal_sources(loop_of(work), Batched(work))


@every_layer
@pytest.mark.parametrize("examples", [1, 4, 9])
def test_results_do_not_depend_on_the_chunks(layer, examples):
    work = layer_work(layer)
    assert_equal_sources(Batched(work), Batched(work, engine=Engine(examples=examples)))


@on_every_device
@every_layer
@pytest.mark.parametrize("channels_last", [False, True])
def test_single_precision_agrees_to_rounding(layer, channels_last, device):
    work = layer_work(layer, device=device, dtype=torch.float32)
    found = Batched(work, engine=Engine(channels_last=channels_last))
    assert_equal_sources(loop_of(work), found, tolerance=1e-4)


@every_layer
def test_equal_inputs_give_equal_bits(layer):
    work = layer_work(layer, dtype=torch.float32)
    first, second = (Batched(work).reduce(0.5) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert torch.equal(Batched(work).rows(), Batched(work).rows())


@on_every_device
@every_layer
def test_clients_that_are_not_finite_are_reported_and_left_out(layer, device):
    work = layer_work(layer, device=device)
    if work.data.inputs.is_floating_point():
        work.data.inputs[sum(RAGGED[:2])] = torch.nan  # the third client's
        work.data.inputs[-1] = torch.inf  # the last client's
    else:
        work.params[:4] = torch.nan  # an embedding that only some clients read, unless it is tied
    truth, found = loop_of(work), Batched(work)
    norms, total = found.reduce(0.5)
    assert not norms.isfinite().all()
    assert total.isfinite().all()
    expected_norms, expected = truth.reduce(0.5)
    assert torch.equal(norms.isfinite(), expected_norms.isfinite())
    torch.testing.assert_close(norms[norms.isfinite()], expected_norms[norms.isfinite()], rtol=1e-12, atol=0)
    assert (total - expected).norm() <= 1e-12 * expected.norm()

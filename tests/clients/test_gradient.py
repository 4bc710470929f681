"""Gradient clients: the update is the gradient of the mean loss, whatever engine computes it."""

import gc
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from cohorts import CLASSES, RAGGED, assert_equal_sources, image_work, layer_work, loop_of, softmax_gradient
from hypothesis import given, settings, strategies as st
from torch import nn

from sparsefed.clients import Gradient
from sparsefed.clients.batched import Batched, Engine
from sparsefed.clients.ghost.base import Layer
from sparsefed.models.network import IGNORED


def test_updates_are_the_closed_form_of_softmax_regression_clipped():
    work = image_work(nn.Sequential(nn.Flatten(), nn.Linear(72, CLASSES, bias=False)))
    x, y = work.data.inputs.flatten(1).numpy(), work.data.labels.numpy()
    weight = work.params.view(CLASSES, 72).numpy()
    bounds = np.cumsum((0, *RAGGED))
    rows = np.stack([
        softmax_gradient(weight, x[a:b], y[a:b]).ravel() + 0.2 * weight.ravel()
        for a, b in pairwise(bounds)
    ])  # fmt: skip
    norms = np.linalg.norm(rows, axis=1)
    clipped = rows * np.minimum(1, np.median(norms) / norms)[:, None]
    updates = Gradient(weight_decay=0.2).updates(work).admitted(float(np.median(norms)))
    np.testing.assert_allclose(updates.sum(), clipped.sum(0), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(updates.mean(), clipped.mean(0), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(updates.norms(), np.minimum(norms, np.median(norms)), rtol=1e-12)
    np.testing.assert_allclose(updates.rows(), clipped, rtol=1e-12, atol=1e-14)


def test_the_server_applies_the_learning_rate():
    assert Gradient().server_lr(0.3) == 0.3


def test_an_empty_cohort_has_no_updates():
    work = layer_work("linear")
    nobody = work._replace(data=work.data.of(np.zeros(len(RAGGED), bool)))
    updates = Gradient().updates(nobody)
    assert updates.count == 0
    assert updates.norms().shape == (0,)
    assert updates.rows().shape == (0, work.network.size)


def test_a_client_without_labels_sends_zero():
    work = layer_work("conv 3x3")
    work.data.labels[: RAGGED[0]] = IGNORED
    source = Batched(work)
    assert source.reduce(1.0)[0][0] == 0.0
    assert not source.rows()[0].any()
    assert_equal_sources(loop_of(work), source)


def test_no_clip_still_tells_the_norms():
    work = layer_work("conv 3x3")
    norms, total = Batched(work).reduce(math.inf)
    torch.testing.assert_close(norms, Batched(work).rows().norm(dim=1), rtol=1e-12, atol=0)
    torch.testing.assert_close(total, Batched(work).rows().sum(0), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("layer", ["conv 3x3", "wide conv", "lstm"])
def test_the_work_is_left_as_it_was(layer):
    work = layer_work(layer)
    before = [work.params.clone(), work.data.inputs.clone(), work.data.labels.clone()]
    source = Batched(work, engine=Engine(examples=9, channels_last=True))
    source.reduce(1.0)
    source.rows()
    for tensor, copy in zip((work.params, work.data.inputs, work.data.labels), before, strict=True):
        assert torch.equal(tensor, copy)
    starts = np.cumsum([0, *work.network.sizes[:-1]])
    pointers = [work.params[start:].data_ptr() for start in starts]
    assert [parameter.data_ptr() for parameter in work.network.parameters] == pointers
    assert all(parameter.requires_grad and parameter.grad is None for parameter in work.network.parameters)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=8),
    st.integers(1, 40),
    st.just(0.0) | st.floats(1e-9, 1),  # squares of far smaller ones underflow
    st.sampled_from(["linear", "conv with stride", "wide conv", "layer norm on rows", "tied decoder"]),
)
def test_batched_equals_the_loop_for_any_cohort(sizes, examples, weight_decay, layer):
    work = layer_work(layer, sizes=tuple(sizes))
    found = Batched(work, weight_decay, Engine(examples=examples))
    assert_equal_sources(loop_of(work, weight_decay), found)


def test_a_pass_leaves_nothing_in_memory():
    gc.collect()
    before = {id(thing) for thing in gc.get_objects() if issubclass(type(thing), Layer)}
    work = layer_work("wide conv")
    for engine in (Engine(), Engine(examples=4)):
        Batched(work, 0.1, engine).reduce(1.0)
        Batched(work, engine=engine).rows()
    gc.collect()
    after = {id(thing) for thing in gc.get_objects() if issubclass(type(thing), Layer)}
    assert after <= before

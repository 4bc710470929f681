"""Any module that PyTorch can differentiate trains, or is refused in one line before the first round."""

import math
import warnings

import numpy as np
import pytest
import small
import torch
from modules import REFUSED, TRAINS, frozen_backbone
from torch import nn

import sparsefed as sf
from sparsefed.clients import LocalData, Work
from sparsefed.clients.loop import Loop
from sparsefed.clients.trust import SlowModel
from sparsefed.federation.metrics import evaluate
from sparsefed.federation.round import Federation
from sparsefed.models import Custom
from sparsefed.models.network import mean_cross_entropy

pytestmark = pytest.mark.filterwarnings("ignore::sparsefed.clients.trust.SlowModel")

every_module = pytest.mark.parametrize("name", TRAINS)


def model(name: str) -> Custom:
    return Custom(function="modules:build", options={"name": name})


def work_of(name: str) -> Work:
    network = model(name).network((1, 8, 8), 10, seed=1)
    network.to("cpu", torch.float64)
    draw = torch.Generator().manual_seed(0)
    inputs = torch.rand(9, 1, 8, 8, generator=draw, dtype=torch.float64)
    data = LocalData(np.arange(3), inputs, torch.randint(10, (9,), generator=draw), np.array([4, 2, 3]))
    return Work(network, network.vector(), data, lr=0.1, seed=0, round=1)


def gradients_by_pytorch(work: Work) -> torch.Tensor:
    """What `backward` leaves in `grad`, client after client."""
    work.network.bind(work.params)
    rows = []
    for inputs, labels in zip(*(part.split([4, 2, 3]) for part in work.data[1:3]), strict=True):
        work.network.module.zero_grad(set_to_none=True)
        mean_cross_entropy(work.network.module(inputs), labels).backward()
        parts = [
            torch.zeros_like(p) if p.grad is None else p.grad.to_dense() for p in work.network.parameters
        ]
        rows.append(torch.cat([part.flatten() for part in parts]))
    return torch.stack(rows)


@every_module
def test_updates_are_pytorchs_own_gradients(name):
    work = work_of(name)
    expected = gradients_by_pytorch(work)
    assert expected.norm() > 0
    updates = sf.Gradient().updates(work)
    torch.testing.assert_close(updates.rows(), expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(updates.sum(), expected.sum(0), rtol=1e-9, atol=1e-12)


@every_module
def test_one_epoch_of_local_training_is_one_step(name):
    work = work_of(name)
    found = sf.FedAvg().updates(work).rows()
    torch.testing.assert_close(found, work.lr * gradients_by_pytorch(work), rtol=1e-9, atol=1e-12)


@every_module
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_federation_trains_it_in_the_experiments_precision(name, precision):
    fed = Federation.of(small.experiment(rounds=1, model=model(name), precision=precision, defense=sf.Mean()))
    state = fed.initial_state
    assert state.params.dtype == getattr(torch, precision)
    after, report = sf.run_round(fed, state)
    assert math.isfinite(report.honest_norm)
    assert not torch.equal(after.params, state.params)


@every_module
def test_constants_stay_as_they_are_built_from_the_seed(name):
    def constants(network):
        named = [*network.module.named_parameters(), *network.module.named_buffers()]
        return {key: value.clone() for key, value in named if not value.requires_grad}

    torch.rand(3)
    fresh = constants(model(name).network((1, 8, 8), 10, seed=3))
    spec = small.experiment(seed=3, model=model(name), defense=sf.Mean(), attack=small.attack())
    fed = Federation.of(spec)
    state = fed.initial_state
    for _ in range(2):
        state, _ = sf.run_round(fed, state)
        evaluate(fed.network, state.params, fed.dataset, fed.auxiliary)
    after = constants(fed.network)
    for key, value in fresh.items():
        assert torch.equal(after[key], value.to(after[key].dtype))


@every_module
def test_every_part_stays_in_the_mode_it_was_built_in(name):
    fed = Federation.of(small.experiment(model=model(name), defense=sf.Mean()))
    built = [part.training for part in model(name).network((1, 8, 8), 10, 0).module.modules()]
    evaluate(fed.network, fed.initial_state.params, fed.dataset, None)
    assert [part.training for part in fed.network.module.modules()] == built


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_trained_is_refused_in_one_line(name):
    _, complaint = REFUSED[name]
    with pytest.raises(sf.SpecError, match=complaint) as caught:
        Federation.of(small.experiment(model=model(name), defense=sf.Mean()))
    assert "\n" not in str(caught.value)


def test_only_what_trains_is_in_the_vector():
    network = model("a frozen backbone").network((1, 8, 8), 10, seed=0)
    assert network.size == 144 * 10 + 10
    assert network.names == ["2.weight", "2.bias"]


def test_a_frozen_backbone_keeps_the_fast_engine(recwarn):
    work = work_of("a frozen backbone")
    assert not isinstance(sf.Gradient().updates(work).source, Loop)
    assert not recwarn
    assert not frozen_backbone()[0][1].training


def test_lazy_layers_start_from_the_seed_alone():
    first = model("lazy layers").network((1, 8, 8), 10, seed=1).vector()
    torch.rand(3)
    assert torch.equal(model("lazy layers").network((1, 8, 8), 10, seed=1).vector(), first)
    assert not torch.equal(model("lazy layers").network((1, 8, 8), 10, seed=2).vector(), first)


def test_a_warning_about_a_slow_model_is_one_line_without_source():
    with pytest.warns(SlowModel) as caught:
        sf.Gradient().updates(work_of("a scalar"))
    message = caught[0]
    shown = warnings.formatwarning(message.message, message.category, message.filename, message.lineno)
    assert shown.count("\n") == 1
    assert "HasAScalar is not a layer" in shown
    assert ".py" not in shown


def test_the_expected_type_of_inputs_is_the_parameters():
    network = model("double precision").network((1, 8, 8), 10, seed=0)
    assert network.as_precise(torch.ones(2, 64)).dtype == torch.float64
    network.to("cpu", torch.float32)
    assert network.as_precise(torch.ones(2, 64, dtype=torch.float16)).dtype == torch.float32
    assert network.as_precise(torch.ones(2, 64, dtype=torch.long)).dtype == torch.long
    assert isinstance(network.module[1], nn.Linear)

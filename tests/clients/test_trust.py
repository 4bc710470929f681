"""A model for which the batched engine gives wrong numbers is computed another way, with one warning."""

import gc
import math

import pytest
import torch
from cohorts import CLASSES, assert_equal_sources, image_work, layer_work, loop_of, on_every_device
from torch import nn
from torch.nn import functional

from sparsefed.clients import Gradient, trust
from sparsefed.clients.batched import Batched, Engine
from sparsefed.clients.ghost.tape import ghost_pass
from sparsefed.clients.loop import Loop
from sparsefed.clients.trust import SlowModel, fastest
from sparsefed.clients.vmapped import vmapped_pass


class UsesAWeightElsewhere(nn.Module):
    """A layer's weight also stands outside of the layer, where no one sees it used."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(72, 9), nn.Linear(9, CLASSES)

    def forward(self, x):
        hidden = torch.tanh(self.first(x.flatten(1)))
        return self.last(hidden) + functional.linear(hidden, self.last.weight**2)


class OwnsAParameter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale, self.layer = nn.Parameter(torch.ones(72)), nn.Linear(72, CLASSES)

    def forward(self, x):
        return self.layer(x.flatten(1) * self.scale)


class MixesTheBatch(nn.Module):
    """Every example's output depends on the batch: what a client sends depends on who shares its pass."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(72, 9), nn.Linear(9, CLASSES)
        self.norm = nn.BatchNorm1d(9, affine=False, track_running_stats=False)

    def forward(self, x):
        return self.last(self.norm(self.first(x.flatten(1))))


class DrawsNumbers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(72, CLASSES)

    def forward(self, x):
        return self.layer(functional.dropout(x.flatten(1), 0.5))


class OwnCell(nn.GRU):
    """A subclass may compute something else."""


class Recurrent(nn.Module):
    """No layer of the engine's, and no operator that vmap can take."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.last = OwnCell(12, 4, batch_first=True), nn.Linear(4, CLASSES)

    def forward(self, x):
        return self.last(self.cell(x.flatten(2).transpose(1, 2).reshape(len(x), 6, 12))[0][:, -1])


class Hooked(nn.Module):
    """A user's own hook changes what a layer gives."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(72, CLASSES)
        self.layer.register_forward_hook(lambda module, args, output: 2 * output)

    def forward(self, x):
        return self.layer(x.flatten(1))


BY_TORCH_FUNC = {
    "weight used elsewhere": UsesAWeightElsewhere,
    "own parameter": OwnsAParameter,
    "user's hook": Hooked,
}
BY_LOOP = {"random numbers": DrawsNumbers, "mixed batch": MixesTheBatch, "own GRU": Recurrent}


def ready(build, sizes=(3, 2, 4), device="cpu"):
    torch.manual_seed(0)
    module = build()
    with torch.no_grad():
        module(torch.ones(2, 2, 6, 6))  # lazy heads learn their width
    return image_work(module, sizes=sizes, device=device)


@on_every_device
@pytest.mark.parametrize("name", BY_TORCH_FUNC)
def test_torch_func_stands_in_and_equals_the_loop(name, device):
    work = ready(BY_TORCH_FUNC[name], device=device)
    with pytest.warns(SlowModel, match="torch.func"):
        source = fastest(work, 0.1, Gradient(weight_decay=0.1).one)
    assert isinstance(source, Batched)
    assert source.engine.run is vmapped_pass
    assert_equal_sources(loop_of(work, 0.1), source)
    assert_equal_sources(loop_of(work, 0.1), Batched(work, 0.1, Engine(vmapped_pass, examples=4)))


@pytest.mark.parametrize("name", BY_LOOP)
def test_what_no_engine_can_take_goes_to_the_loop(name):
    work = ready(BY_LOOP[name])
    with pytest.warns(SlowModel, match="the literal loop"):
        source = fastest(work, 0.0, Gradient().one)
    assert isinstance(source, Loop)


def test_the_warning_comes_once_and_says_why():
    work = ready(OwnsAParameter)
    with pytest.warns(SlowModel) as caught:
        sums = [Gradient().updates(work).admitted(clip).sum() for clip in (1.0, math.inf)]
    assert len(sums) == 2
    assert len(caught) == 1
    assert "OwnsAParameter cannot go through the batched engine: OwnsAParameter is not a layer" in str(
        caught[0].message
    )


def test_a_trial_leaves_no_trace():
    work = ready(UsesAWeightElsewhere)
    params, state = work.params.clone(), torch.get_rng_state()
    with pytest.warns(SlowModel):
        Gradient().updates(work).sum()
    assert torch.equal(work.params, params)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in work.network.parameters)
    assert not any(part._forward_hooks for part in work.network.module.modules())


def test_a_blank_first_client_hides_nothing():
    work = ready(UsesAWeightElsewhere)
    work.data.inputs[:3] = 0.0
    with pytest.warns(SlowModel):
        source = fastest(work, 0.0, Gradient().one)
    assert_equal_sources(loop_of(work), source)


def test_a_first_client_that_is_not_finite_spoils_no_trial():
    work = layer_work("conv 3x3")
    work.data.inputs[0] = math.nan
    assert fastest(work, 0.0, Gradient().one).engine.run is ghost_pass


def test_an_error_in_the_model_is_the_same_as_in_the_loop():
    work = ready(OwnsAParameter)
    work.data.labels[0] = CLASSES + 3
    with pytest.warns(SlowModel), pytest.raises(IndexError):
        Gradient().updates(work).sum()


def test_a_model_is_forgotten_with_its_module():
    work = layer_work("linear")
    fastest(work, 0.0, Gradient().one)
    before = len(trust._verdicts)
    del work
    gc.collect()
    assert len(trust._verdicts) < before

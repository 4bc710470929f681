"""Layers with running statistics are exchanged for group normalization."""

import pytest
import small
import torch
from torch import nn

import sparsefed as sf
from sparsefed.federation.round import Federation
from sparsefed.models import with_group_norm


def build(input_shape, classes):
    features = nn.Sequential(nn.Conv2d(1, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten())
    return with_group_norm(nn.Sequential(features, nn.Linear(32 * 36, classes), nn.BatchNorm1d(classes)))


@pytest.mark.filterwarnings("ignore::sparsefed.clients.trust.SlowModel")
def test_a_module_with_batch_norm_trains_after_the_exchange():
    fed = Federation.of(small.experiment(model={"type": f"{__name__}:build"}))
    after, _ = sf.run_round(fed, fed.initial_state)
    assert not torch.equal(after.params, fed.initial_state.params)
    assert not list(fed.network.module.buffers())


@pytest.mark.parametrize(
    ("channels", "groups"), [(1, 1), (3, 1), (10, 1), (16, 1), (17, 1), (32, 2), (48, 3), (64, 4), (100, 5)]
)
def test_groups_have_equally_many_channels_and_at_least_sixteen(channels, groups):
    assert with_group_norm(nn.BatchNorm2d(channels)).num_groups == groups


def test_an_instance_normalization_is_one_group_per_channel_and_computes_the_same():
    torch.manual_seed(0)
    layer = nn.InstanceNorm2d(6, affine=True, track_running_stats=True)
    nn.init.normal_(layer.weight)
    x = torch.randn(4, 6, 5, 5)
    expected = layer(x)
    torch.testing.assert_close(with_group_norm(layer)(x), expected)


def test_weights_biases_modes_and_sharing_are_kept():
    norm = nn.BatchNorm2d(4, eps=0.1).double().eval().requires_grad_(False)
    nn.init.normal_(norm.weight)
    module = with_group_norm(nn.Sequential(norm, nn.Sequential(norm), nn.BatchNorm3d(4, affine=False)))
    new = module[0]
    assert torch.equal(new.weight, norm.weight)
    assert (new.weight.requires_grad, new.training, new.eps) == (False, False, 0.1)
    assert module[1][0] is new
    assert module[2].weight is None


def test_a_lazy_layer_is_refused():
    with pytest.raises(sf.SpecError, match="LazyBatchNorm2d has no channels yet"):
        with_group_norm(nn.Sequential(nn.LazyBatchNorm2d()))

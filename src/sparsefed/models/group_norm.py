"""Group normalization in place of layers that keep running statistics."""

import torch
from torch import nn

from sparsefed.core.errors import SpecError

__all__ = ["with_group_norm"]

CHANNELS = 16
"""Least channels of a group, where there are so many (Wu and He, 2018)."""


def with_group_norm(module: nn.Module) -> nn.Module:
    """`module` with group normalization for every batch normalization, and for instance normalization.

    Running statistics are state that clients would have to communicate and that no bound on an update
    covers. Groups have at least 16 channels and all the same number; an instance normalization becomes
    one group per channel, which is the same. Weights and biases are kept. Replaces in place; frozen
    layers too. Raises SpecError for a lazy layer, whose channels are not known yet.
    """
    replaced: dict[nn.Module, nn.Module] = {}
    for part in list(module.modules()):
        for name, child in part._modules.items():
            if isinstance(child, nn.modules.batchnorm._NormBase):
                if child not in replaced:
                    replaced[child] = _group_norm(child)
                part._modules[name] = replaced[child]
    return _group_norm(module) if isinstance(module, nn.modules.batchnorm._NormBase) else module


def _group_norm(layer: nn.modules.batchnorm._NormBase) -> nn.GroupNorm:
    channels = layer.num_features
    if channels == 0:
        raise SpecError(f"{type(layer).__name__} has no channels yet: expected a layer that is not lazy")
    groups = channels
    if not isinstance(layer, nn.modules.instancenorm._InstanceNorm):
        least = min(CHANNELS, channels)
        groups = max(n for n in range(1, channels + 1) if channels % n == 0 and channels // n >= least)
    made = nn.GroupNorm(groups, channels, layer.eps, layer.affine)
    if layer.affine:
        made.to(layer.weight.device, layer.weight.dtype)
        with torch.no_grad():
            made.weight.copy_(layer.weight)
            made.bias.copy_(layer.bias)
        made.weight.requires_grad_(layer.weight.requires_grad)
        made.bias.requires_grad_(layer.bias.requires_grad)
    return made.train(layer.training)

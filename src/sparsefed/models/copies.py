"""Copies of a module to try out what it does, without a trace on the module itself."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["copied", "perturbed"]


def copied(module: nn.Module) -> nn.Module:
    """A copy, of what the module has computed and kept too."""
    results = [value for part in module.modules() for value in vars(part).values() if _is_result(value)]
    return copy.deepcopy(module, {id(value): value.detach().clone() for value in results})


def perturbed(module: nn.Module, generator: torch.Generator) -> nn.Module:
    """A copy in double precision whose trained parameters are moved by about half their spread.

    So nothing is hidden behind a zero, or behind rounding.
    """
    trial = copied(module).double()
    for parameter in trial.parameters():
        if parameter.requires_grad:
            view = parameter.data
            spread = view.std().nan_to_num() if view.numel() > 1 else view.new_zeros(())
            noise = torch.randn(view.shape, generator=generator).to(view)
            view.add_(noise * (0.5 * spread).clamp(min=0.01))
    return trial


def _is_result(value: Any) -> bool:
    """Whether an attribute is a tensor that a module has computed and kept; such cannot be deep-copied."""
    return isinstance(value, Tensor) and not value.is_leaf

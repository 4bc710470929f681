"""Softmax regression: the linear model of the paper's Example 1, on flattened inputs."""

import math

from torch import nn

from sparsefed.models.base import Model

__all__ = ["Linear"]


class Linear(Model):
    """Logits = W x + b, with PyTorch's default initial weights."""

    bias: bool = True
    """Whether there is a bias b; the paper's Example 1 has none."""
    zeros: bool = False
    """Whether to start from W = b = 0, the usual start of a convex problem."""

    def build(self, input_shape: tuple[int, ...], classes: int) -> nn.Module:
        layer = nn.Linear(math.prod(input_shape), classes, bias=self.bias)
        if self.zeros:
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)
        return nn.Sequential(nn.Flatten(), layer)

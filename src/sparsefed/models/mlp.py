"""A multilayer perceptron with ReLU on flattened inputs."""

import math
from itertools import pairwise

from pydantic import PositiveInt
from torch import nn

from sparsefed.models.base import Model

__all__ = ["MLP"]


class MLP(Model):
    """Linear layers with ReLU between them; 784-200-200-10 on MNIST by default (199,210 parameters)."""

    hidden: tuple[PositiveInt, ...] = (200, 200)
    """Units of each hidden layer."""

    def build(self, input_shape: tuple[int, ...], classes: int) -> nn.Module:
        layers: list[nn.Module] = [nn.Flatten()]
        widths = (math.prod(input_shape), *self.hidden)
        for fan_in, units in pairwise(widths):
            layers += [nn.Linear(fan_in, units), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(widths[-1], classes))

"""Modules that draw random numbers, each in another way."""

import random

import numpy as np
import torch
from torch import nn
from torch.nn import functional


class Drawing(nn.Module):
    """Two linear layers; between them something that draws."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(64, 8), nn.Linear(8, classes)

    def forward(self, x):
        return self.last(self.between(self.first(x.flatten(1))))

    def between(self, x):
        return functional.dropout(x, 0.5, self.training)


class InEvaluationToo(Drawing):
    def between(self, x):
        return x + torch.rand_like(x)


class LeakyAtRandom(Drawing):
    def between(self, x):
        return functional.rrelu(x, 0.1, 0.9, training=self.training)


class SkipsLayers(Drawing):
    """Stochastic depth, decided by Python."""

    def between(self, x):
        return x if self.training and random.random() < 0.5 else torch.tanh(x)


class AddsNoise(Drawing):
    """Noise from NumPy."""

    def between(self, x):
        return x + torch.from_numpy(np.random.normal(size=x.shape)).to(x)  # noqa: NPY002


class Chooses(Drawing):
    def between(self, x):
        return x * functional.gumbel_softmax(x) if self.training else x


class DropsForManyOnly(Drawing):
    """What a trial with few examples cannot see."""

    def between(self, x):
        return functional.dropout(x, 0.5, self.training) if len(x) > 5 else x


class Attends(Drawing):
    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.attention = nn.MultiheadAttention(8, 2, dropout=0.5, batch_first=True)

    def between(self, x):
        return self.attention(x[:, None], x[:, None], x[:, None])[0][:, 0]


class Recurs(Drawing):
    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.cell = nn.LSTM(8, 8, num_layers=2, dropout=0.5, batch_first=True)

    def between(self, x):
        return self.cell(x[:, None])[0][:, 0]


MODULES = [Drawing, InEvaluationToo, LeakyAtRandom, SkipsLayers, AddsNoise, Chooses]
MODULES += [DropsForManyOnly, Attends, Recurs]


def build(input_shape, classes, kind):
    return next(module for module in MODULES if module.__name__ == kind)(classes)

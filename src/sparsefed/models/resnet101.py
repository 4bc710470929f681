"""ResNet101 (He et al., 2016) with layer normalization: the paper's model for FEMNIST."""

from typing import TypeAlias

from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from sparsefed.models.base import Model, image_shape

__all__ = ["ResNet101"]

Shape: TypeAlias = tuple[int, int, int]
"""Channels, height, width."""

EXPANSION = 4
"""A block's output channels over its inner channels."""


class ResNet101(Model):
    """43,124,350 parameters on 1×28×28 with 62 classes.

    Layer normalization runs over (channels, height, width) with one weight and one bias per
    element, so a model fits one image size; the number of parameters depends on it. The stride of
    a bottleneck is in its 3×3 convolution.
    """

    width: PositiveInt = 64
    """Channels of the stem; the inner channels of the stages are 1, 2, 4 and 8 times as many."""
    blocks: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (3, 4, 23, 3)
    """Bottlenecks in each stage; three convolutions each, so the default has 101 layers."""

    def build(self, input_shape: tuple[int, ...], classes: int) -> nn.Module:
        shape = image_shape("ResNet101", input_shape)
        stem = NormedConv(shape, self.width, kernel=7, stride=2)
        layers: list[nn.Module] = [stem, nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)]
        shape = halved(stem.shape, stride=2)
        for stage, count in enumerate(self.blocks):
            for position in range(count):
                stride = 2 if stage > 0 and position == 0 else 1
                block = Bottleneck(shape, self.width << stage, stride)
                layers.append(block)
                shape = block.shape
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(shape[0], classes))


def halved(shape: Shape, stride: int) -> Shape:
    """What a padded convolution or pooling of that stride leaves of an image."""
    channels, height, width = shape
    return channels, -(-height // stride), -(-width // stride)


class NormedConv(nn.Module):
    """A convolution without bias, then layer normalization of the whole image."""

    def __init__(self, shape: Shape, filters: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        channels, height, width = shape
        self.shape = halved((filters, height, width), stride)
        self.conv = nn.Conv2d(channels, filters, kernel, stride, padding=kernel // 2, bias=False)
        self.norm = nn.LayerNorm(list(self.shape))
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions beside a shortcut, which is a 1×1 convolution where shapes differ."""

    def __init__(self, shape: Shape, width: int, stride: int) -> None:
        super().__init__()
        self.reduce = NormedConv(shape, width, kernel=1)
        self.mix = NormedConv(self.reduce.shape, width, kernel=3, stride=stride)
        self.expand = NormedConv(self.mix.shape, EXPANSION * width, kernel=1)
        self.shape = self.expand.shape
        same = self.shape == shape
        self.shortcut = nn.Identity() if same else NormedConv(shape, EXPANSION * width, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.relu(self.mix(functional.relu(self.reduce(x))))
        return functional.relu(self.expand(inner) + self.shortcut(x))

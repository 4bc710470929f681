"""ResNet9 without batch normalization (Page, 2019): the paper's model for CIFAR and Fashion-MNIST."""

from pydantic import PositiveInt
from torch import Tensor, nn

from sparsefed.models.base import Model, image_shape

__all__ = ["ResNet9"]


class ResNet9(Model):
    """For images of at least 8×8 pixels; 6,568,640 parameters on 3×32×32 with 10 classes.

    The last pooling leaves one pixel: its window is the largest power of two that fits in what
    three halvings leave, which is 4 for 32×32 and 2 for 28×28.
    """

    width: PositiveInt = 64
    """Channels of the first layer; the widest has eight times as many."""

    def build(self, input_shape: tuple[int, ...], classes: int) -> nn.Module:
        channels, *sides = image_shape("ResNet9", input_shape, least=8)
        width = self.width
        window = tuple(1 << ((side // 8).bit_length() - 1) for side in sides)
        return nn.Sequential(
            unit(channels, width),
            unit(width, 2 * width),
            nn.MaxPool2d(2),
            Residual(2 * width),
            unit(2 * width, 4 * width),
            nn.MaxPool2d(2),
            unit(4 * width, 8 * width),
            nn.MaxPool2d(2),
            Residual(8 * width),
            nn.MaxPool2d(window),
            nn.Flatten(),
            nn.Linear(8 * width, classes, bias=False),
            Scale(0.125),
        )


def unit(channels: int, filters: int) -> nn.Sequential:
    """A 3×3 convolution without bias, then ReLU."""
    return nn.Sequential(nn.Conv2d(channels, filters, 3, padding=1, bias=False), nn.ReLU())


class Residual(nn.Module):
    """x + unit(unit(x))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(unit(channels, channels), unit(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Scale(nn.Module):
    """A constant factor, which tempers the logits so that a large learning rate can start."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor

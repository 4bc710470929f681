"""A small convolutional network: two 3×3 convolutions with pooling, one hidden layer."""

from pydantic import PositiveInt
from torch import nn

from sparsefed.models.base import Model, image_shape

__all__ = ["CNN"]


class CNN(Model):
    """For images of at least 4×4 pixels; 220,234 parameters on 1×28×28 with 10 classes."""

    width: PositiveInt = 32
    """Channels of the first convolution; the second has twice as many."""
    hidden: PositiveInt = 64
    """Units of the hidden linear layer."""

    def build(self, input_shape: tuple[int, ...], classes: int) -> nn.Module:
        channels, height, width = image_shape("CNN", input_shape, least=4)
        features = 2 * self.width * (height // 4) * (width // 4)
        return nn.Sequential(
            nn.Conv2d(channels, self.width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(self.width, 2 * self.width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(features, self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, classes),
        )

"""Random changes of training images, for a whole batch at once (audit, section 1.2).

An `Augment` takes float images `[n, channels, height, width]` in [0, 1] and a generator on their
device, and returns images of the same shape. The draws depend on the generator and on n alone.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Generator, Tensor
from torch.nn import functional

__all__ = ["Augment", "Crop", "Flip", "InOrder", "ResizedCrop", "Rotation"]

Augment: TypeAlias = Callable[[Tensor, Generator], Tensor]


@dataclass(frozen=True)
class InOrder:
    """One change after the other."""

    steps: tuple[Augment, ...]

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        for step in self.steps:
            images = step(images, generator)
        return images


@dataclass(frozen=True)
class Flip:
    """Left and right exchanged, for half of the images."""

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        flipped = torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device) < 0.5
        return torch.where(flipped, images.flip(-1), images)


@dataclass(frozen=True)
class Crop:
    """Each image moved by up to `pad` pixels in both directions."""

    pad: int
    fill: float | None = None
    """What moves in at the border; None mirrors the image there."""

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        n, _, height, width = images.shape
        around = [self.pad] * 4
        if self.fill is None:
            padded = functional.pad(images, around, mode="reflect")
        else:
            padded = functional.pad(images, around, value=self.fill)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view of every possible crop
        places = (2, n)
        top, left = torch.randint(2 * self.pad + 1, places, generator=generator, device=images.device)
        return windows[torch.arange(n, device=images.device), :, top, left]


@dataclass(frozen=True)
class ResizedCrop:
    """A random rectangle of each image, stretched to the whole size, bilinearly.

    Area (as a share of the image) and aspect ratio are drawn up to ten times until the rectangle
    fits inside the image; where none does, the whole image stays.
    """

    area: tuple[float, float]
    aspect: tuple[float, float]
    """Width over height; drawn uniformly in the logarithm."""

    tries = 10

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        draws = torch.rand(4, self.tries, len(images), generator=generator, device=images.device)
        low, high = math.log(self.aspect[0]), math.log(self.aspect[1])
        area = self.area[0] + draws[0] * (self.area[1] - self.area[0])
        aspect = torch.exp(low + draws[1] * (high - low))
        width, height = (area * aspect).sqrt(), (area / aspect).sqrt()  # shares of the image's sides
        fits = (width <= 1) & (height <= 1)
        first = fits.to(torch.uint8).argmax(dim=0, keepdim=True)  # 0 too where none fits
        width, height = (torch.where(fits, side, 1.0).gather(0, first)[0] for side in (width, height))
        across, down = (2 * draws[2:, 0] - 1) * torch.stack([1 - width, 1 - height])
        zero = torch.zeros_like(width)
        rows = torch.stack([width, zero, across, zero, height, down], dim=1)
        return _resampled(images, rows.view(-1, 2, 3))


@dataclass(frozen=True)
class Rotation:
    """Each image turned about its center by up to `degrees` either way, bilinearly."""

    degrees: float
    fill: float
    """What moves in at the corners."""

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        draw = torch.rand(len(images), generator=generator, device=images.device)
        angle = (2 * draw - 1) * math.radians(self.degrees)
        cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
        stretch = images.shape[-1] / images.shape[-2]  # grid units are half sides, not pixels
        rows = torch.stack([cos, -sin / stretch, zero, sin * stretch, cos, zero], dim=1)
        return _resampled(images - self.fill, rows.view(-1, 2, 3), outside="zeros") + self.fill


def _resampled(images: Tensor, maps: Tensor, outside: str = "border") -> Tensor:
    grid = functional.affine_grid(maps, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, "bilinear", outside, align_corners=False)

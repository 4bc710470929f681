"""What random changes of images may do and what they must leave alone."""

import math

import pytest
import torch
from torch import Generator, Tensor

from sparsefed.data.augment import Augment, Crop, Flip, InOrder, ResizedCrop, Rotation
from sparsefed.data.readers.cifar import AUGMENT as CIFAR
from sparsefed.data.readers.femnist import AUGMENT as FEMNIST


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def noise(n: int = 6, channels: int = 3, height: int = 12, width: int = 12) -> Tensor:
    return torch.rand(n, channels, height, width, generator=seeded(1))


def ramps(n: int, height: int, width: int) -> Tensor:
    """Two channels: every pixel's column and row, counted from the image's center."""
    x = torch.arange(width) - (width - 1) / 2
    y = torch.arange(height) - (height - 1) / 2
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)]).repeat(n, 1, 1, 1)


ALL = [
    Flip(),
    Crop(2),
    Crop(2, fill=1.0),
    ResizedCrop((0.8, 1.2), (0.8, 1.25)),
    Rotation(5, 1.0),
    CIFAR,
    FEMNIST,
]


@pytest.mark.parametrize("augment", ALL, ids=repr)
def test_the_seed_decides_everything_and_the_input_is_left_alone(augment: Augment):
    images = noise()
    before = images.clone()
    first, again, other = (augment(images, seeded(seed)) for seed in (3, 3, 4))
    assert torch.equal(images, before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == images.shape
    assert first.dtype == images.dtype


@pytest.mark.parametrize("augment", ALL, ids=repr)
def test_white_paper_stays_white(augment: Augment):
    assert torch.allclose(augment(torch.ones(5, 1, 28, 28), seeded()), torch.ones(5, 1, 28, 28))


@pytest.mark.parametrize("augment", ALL, ids=repr)
def test_images_are_changed_one_by_one(augment: Augment):
    images = noise()
    alone = images.clone()
    alone[1:] = 0
    assert torch.equal(augment(images, seeded())[0], augment(alone, seeded())[0])


def test_flips_are_fair():
    images = noise(2000, 1, 1, 2)
    flipped = Flip()(images, seeded())
    changed = (flipped != images).flatten(1).any(1)
    assert torch.equal(flipped[changed], images[changed].flip(-1))
    assert 900 < int(changed.sum()) < 1100


@pytest.mark.parametrize("fill", [None, 0.5])
def test_a_crop_is_a_window_of_the_padded_image(fill: float | None):
    images = noise(200, 2, 5, 6)
    mode = {"mode": "reflect"} if fill is None else {"value": fill}
    padded = torch.nn.functional.pad(images, [2] * 4, **mode)
    seen = set()
    for image, source in zip(Crop(2, fill)(images, seeded()), padded, strict=True):
        places = [
            (i, j) for i in range(5) for j in range(5) if torch.equal(image, source[:, i : i + 5, j : j + 6])
        ]
        assert places
        seen.add(places[0])
    assert len(seen) == 25


def test_a_resized_crop_is_a_rectangle_inside_the_image_of_the_size_asked_for():
    side = 40
    crops = ResizedCrop(area=(0.5, 1.2), aspect=(4 / 5, 5 / 4))(ramps(500, side, side), seeded())
    middle = slice(10, 30)  # away from the border, bilinear sampling of a ramp is exact
    width = (crops[:, 0, 20, middle].diff(dim=-1)).mean(-1)
    height = (crops[:, 1, middle, 20].diff(dim=-1)).mean(-1)
    area, aspect = width * height, width / height
    assert area.min() > 0.5 - 1e-4
    assert area.max() <= 1 + 1e-4
    assert area.std() > 0.1
    assert aspect.min() > 4 / 5 - 1e-4
    assert aspect.max() < 5 / 4 + 1e-4
    across = crops[:, 0, 19:21, 19:21].mean((1, 2))  # the rectangle's center
    down = crops[:, 1, 19:21, 19:21].mean((1, 2))
    assert (across.abs() / side + width / 2).max() < 0.5 + 1e-4
    assert (down.abs() / side + height / 2).max() < 0.5 + 1e-4
    assert across.std() > 1


def test_a_rectangle_that_never_fits_leaves_the_image():
    images = noise()
    unchanged = ResizedCrop(area=(2, 3), aspect=(1, 1))(images, seeded())
    assert torch.allclose(unchanged, images, atol=1e-5)


def test_rotations_are_rigid_small_and_about_the_centre():
    images = ramps(300, 21, 31)
    turned = Rotation(degrees=5, fill=0.0)(images, seeded())
    inner = turned[:, :, 5:16, 5:26]
    across, down = inner.diff(dim=3).mean((2, 3)), inner.diff(dim=2).mean((2, 3))
    cos, sin = across[:, 0], across[:, 1]
    assert torch.allclose(down, torch.stack([-sin, cos], 1), atol=1e-4)
    assert torch.allclose(cos**2 + sin**2, torch.ones(300), atol=1e-4)
    angle = torch.atan2(sin, cos) * 180 / math.pi
    assert 4.8 < angle.max() <= 5.001
    assert -5.001 <= angle.min() < -4.8
    assert turned[:, :, 10, 15].abs().max() < 1e-4


def test_changes_follow_one_another():
    images = noise()
    generator = seeded()
    expected = Flip()(Crop(1)(images, generator), generator)
    assert torch.equal(InOrder((Crop(1), Flip()))(images, seeded()), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("augment", ALL, ids=repr)
def test_images_on_a_gpu_stay_there(augment: Augment):
    images = noise().cuda()
    first, again = (augment(images, Generator("cuda").manual_seed(1)) for _ in range(2))
    assert first.is_cuda
    assert torch.equal(first, again)

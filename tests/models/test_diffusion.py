"""Features from a public sample's neighborhoods: exact on a graph of two parts, deterministic, checked."""

import pytest
import torch

from sparsefed.core.errors import SpecError
from sparsefed.models import Diffusion, RandomConvolutions, Together, UnitLength
from sparsefed.models.features import Backbone


def flat(input_shape: tuple[int, ...]) -> torch.nn.Module:
    """Inputs as they are."""
    return torch.nn.Flatten()


def two_parts(each: int = 40) -> torch.Tensor:
    """Points around two orthogonal directions; their mean is the origin."""
    draw = torch.Generator().manual_seed(0)
    signs = torch.tensor([1.0, -1.0]).repeat_interleave(each)[:, None]
    noise = 0.2 * torch.randn(2 * each, 3, generator=draw)
    return torch.cat([signs, noise], 1)


OWN = Backbone(function="test_diffusion:flat")


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(__file__.rpartition("/")[0])


def test_the_first_coordinate_tells_the_parts_of_a_graph_apart():
    points = two_parts()
    found = Diffusion(of=OWN, neighbors=5, components=3).fitted(points, seed=0)(points)
    first, second = found[:40], found[40:]
    within = max(torch.cdist(part, part).max() for part in (first[:, :1], second[:, :1]))
    assert torch.cdist(first[:, :1], second[:, :1]).min() > 20 * within
    new = torch.tensor([[5.0, 0.1, -0.2, 0.1], [-0.5, 0.02, 0.0, 0.01]])
    placed = Diffusion(of=OWN, neighbors=5, components=3).fitted(points, seed=0)(new)
    assert torch.allclose(placed[:, 0], torch.stack([first[0, 0], second[0, 0]]), atol=1e-3)


def test_unit_length_keeps_directions_only():
    points = two_parts()
    found = UnitLength(of=OWN).raw(points, 0)
    mean = points.mean(0)
    assert torch.allclose(found(points).norm(dim=1), torch.ones(80), atol=1e-5)
    assert torch.allclose(found(mean + 7 * (points - mean)), found(points), atol=1e-5)


def test_features_are_a_function_of_the_sample_and_the_seed():
    images = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    own = Diffusion(of=RandomConvolutions(filters=4, kernel=3, components=8), neighbors=4, components=5)
    torch.manual_seed(1)
    first = own.fitted(images, 0)(images[:7])
    torch.manual_seed(2)
    assert torch.equal(first, own.fitted(images, 0)(images[:7]))
    assert first.shape == (7, 5)


def test_a_sample_that_is_too_small_is_refused_in_one_line():
    with pytest.raises(SpecError, match=r"expected a sample of more than .* = 67 examples, found 20"):
        Diffusion(of=OWN).fitted(two_parts(10), 0)


def test_features_side_by_side_have_the_lengths_they_are_given():
    points = two_parts()
    both = Together(of=[UnitLength(of=OWN), OWN], lengths=[1.0, 3.0]).raw(points, 0)(points)
    one = UnitLength(of=OWN).fitted(points, 0)(points)
    assert torch.allclose(both[:, :4], one)
    assert torch.allclose(both[:, 4:], 3 * OWN.fitted(points, 0)(points))
    with pytest.raises(SpecError, match="expected one of `lengths` for each of `of`, found 1 for 2"):
        Together(of=[OWN, OWN], lengths=[1.0])

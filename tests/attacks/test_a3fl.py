"""A3FL against its pseudocode, and what its trained picture is worth."""

from typing import Any

import numpy as np
import oracles
import pytest
import small
import torch
from scenes import run, view_of

import sparsefed as sf
from sparsefed.attacks import A3FL, Best, Targeted, TriggerBackdoor, View
from sparsefed.attacks.methods.a3fl import Trigger
from sparsefed.attacks.objectives.trigger import wearing
from sparsefed.federation.round import Federation, run_round

WIDTHS = (64, 16, 10)
SIZE = 3


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def scene(method: A3FL, **changes: Any) -> Federation:
    attack = small.attack(
        objective=TriggerBackdoor(target=1, points=20, size=SIZE),
        presence=sf.Pool(fraction=0.4),
        method=method,
    )
    return Federation.of(small.experiment(attack=attack, cohort=20, precision="float64", **changes))


def as_arrays(view: View) -> tuple[np.ndarray, ...]:
    local, wanted = view.local, view.wanted
    return tuple(part.numpy() for part in (local.inputs, local.labels, wanted.inputs, wanted.labels))


def worn(images: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    images = images.copy()
    images[:, :, -SIZE:, -SIZE:] = pattern
    return images


def by_picture(theta: np.ndarray, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """∂ mean cross entropy / ∂ picture by central differences, literally."""
    step, found = 1e-6, np.zeros((1, SIZE, SIZE))

    def loss(shift: np.ndarray) -> float:
        moved = images.copy()
        moved[:, :, -SIZE:, -SIZE:] += shift
        hidden, output = np.split(theta, [(WIDTHS[0] + 1) * WIDTHS[1]])
        (w, b), (v, c) = (
            (part[: n * m].reshape(m, n), part[n * m :])
            for part, n, m in ((hidden, *WIDTHS[:2]), (output, *WIDTHS[1:]))
        )
        logits = np.maximum(moved.reshape(len(moved), -1) @ w.T + b, 0) @ v.T + c
        chances = np.exp(logits - logits.max(1, keepdims=True))
        chances /= chances.sum(1, keepdims=True)
        return float(-np.log(chances[np.arange(len(labels)), labels]).mean())

    for place in np.ndindex(found.shape):
        shift = np.zeros_like(found)
        shift[place] = step
        found[place] = (loss(shift) - loss(-shift)) / (2 * step)
    return found


@pytest.mark.parametrize("caution", [0.0, 1.0])
def test_the_picture_takes_the_published_steps(caution: float) -> None:
    method = A3FL(steps=3, pace=0.05, unlearning=2, caution=caution, local_lr=0.3)
    view = view_of(scene(method))
    own, truth, aimed, labels = as_arrays(view)
    pattern, theta = view.memory.pattern.numpy(), view.params.numpy()
    hardened = theta.copy()
    for _ in range(2):
        patched = worn(own, pattern).reshape(len(own), -1)
        hardened -= 0.3 * oracles.mlp_gradient(hardened, patched, truth, WIDTHS)
    weight = caution * (hardened @ theta) / np.linalg.norm(hardened) / np.linalg.norm(theta)
    low, high = aimed.min(), aimed.max()
    for _ in range(3):
        images = worn(aimed, pattern)
        uphill = by_picture(theta, images, labels) + weight * by_picture(hardened, images, labels)
        pattern = np.clip(pattern - 0.05 * (high - low) * np.sign(np.round(uphill, 12)), low, high)
    np.testing.assert_allclose(method.learn(view, generator()).pattern.numpy(), pattern, atol=1e-12)


def test_the_upload_is_pgd_on_images_with_the_picture() -> None:
    method = A3FL(epochs=2, batch_size=8, local_lr=0.3)
    view = view_of(scene(method))
    pattern = torch.rand(1, SIZE, SIZE, dtype=torch.float64)
    images = wearing(view.wanted.inputs, pattern)
    plain = sf.PGD(epochs=2, batch_size=8, local_lr=0.3)
    expected = plain.craft(view._replace(auxiliary=view.wanted._replace(inputs=images)), generator())
    assert torch.equal(method.craft(view._replace(memory=Trigger(pattern)), generator()), expected)


def test_success_is_measured_with_the_latest_picture() -> None:
    fed = scene(A3FL(local_lr=0.3))
    state = fed.initial_state
    for _ in range(3):
        state, _ = run_round(fed, state)
    shown = fed.aimed(state)
    assert shown is not None
    assert fed.auxiliary is not None
    pattern = state.attacker.pattern
    assert not torch.equal(pattern, fed.initial_state.attacker.pattern)
    corner, rest = shown.aims.inputs[..., -SIZE:, -SIZE:], shown.aims.inputs[..., :-SIZE, :]
    assert torch.equal(corner, pattern.expand_as(corner))
    assert torch.equal(rest, fed.auxiliary.aims.inputs[..., :-SIZE, :])
    low, high = fed.auxiliary.inputs.min(), fed.auxiliary.inputs.max()
    assert low <= pattern.min()
    assert pattern.max() <= high


def test_a_trained_picture_gets_more_through_a_tight_clip_than_a_white_one() -> None:
    patch = {"objective": TriggerBackdoor(target=1, points=50), "clip": sf.FixedClip(norm=0.1)}
    white, trained = (run(method, **patch) for method in (sf.PGD(local_lr=0.1), A3FL(local_lr=0.1)))
    assert trained["attack_accuracy"] > white["attack_accuracy"] + 15


def test_a_picture_needs_a_patch_and_a_model_that_sees_it() -> None:
    with pytest.raises(sf.SpecError, match="expected the objective TriggerBackdoor"):
        small.attack(objective=Targeted(points=5), method=A3FL())
    head = sf.models.Head(features=sf.models.RandomConvolutions(filters=4))
    with pytest.raises(sf.SpecError, match="expected a model that is given the images themselves"):
        _ = scene(A3FL(), model=head).initial_state
    with pytest.raises(sf.SpecError, match="expected to be an attack's own method"):
        _ = scene(Best(of=[A3FL()])).initial_state

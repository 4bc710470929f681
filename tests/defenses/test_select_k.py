"""Choosing k (Algorithm 11)."""

import numpy as np
import oracles_defenses as oracle
import pytest
import small
import torch
from hypothesis import given, strategies as st

from sparsefed.core.errors import SpecError
from sparsefed.defenses.choose_k import least_k, loss_curve, scanned_k
from sparsefed.federation.probe import choose_k, client_updates
from sparsefed.federation.round import Federation
from sparsefed.report.plots import plot_loss

seeds = st.integers(0, 2**32 - 1)
losses = st.floats(0, 0.99)


def gradients_of(seed: int) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    shape = int(draw.integers(1, 5)), int(draw.integers(1, 60))
    return list(draw.normal(size=shape) ** 3 * draw.integers(0, 2, size=shape) + 1e-3)


def curve_of(gradients: list[np.ndarray]) -> np.ndarray:
    return loss_curve(torch.from_numpy(gradient) for gradient in gradients)


@given(seeds)
def test_the_curve_is_the_definition_at_every_k_and_never_increases(seed: int) -> None:
    gradients = gradients_of(seed)
    curve = curve_of(gradients)
    assert len(curve) == len(gradients[0]) + 1
    assert curve[0] == 1
    assert curve[-1] == 0
    assert (np.diff(curve) <= 0).all()
    for k in range(1, len(curve)):
        lost = [np.abs(g - oracle.top_k(g, k)).sum() / np.abs(g).sum() for g in gradients]
        assert curve[k] == pytest.approx(np.mean(lost), abs=1e-12)


@given(seeds, losses)
def test_the_least_k_suffices_and_one_less_does_not(seed: int, max_loss: float) -> None:
    curve = curve_of(gradients_of(seed))
    k = least_k(curve, max_loss)
    assert curve[k] <= max_loss
    assert k == 1 or curve[k - 1] > max_loss


@given(seeds, losses, st.integers(1, 80))
def test_the_scan_is_the_listing(seed: int, max_loss: float, rounds_per_epoch: int) -> None:
    gradients = gradients_of(seed)
    curve = curve_of(gradients)
    scanned = scanned_k(curve, max_loss, rounds_per_epoch)
    assert scanned == oracle.choose_k(gradients, max_loss + 1e-12, rounds_per_epoch)
    assert scanned >= min(least_k(curve, max_loss), len(curve) - 1)


def test_a_gradient_of_zeros_loses_nothing() -> None:
    assert least_k(loss_curve([torch.zeros(5)]), 0.0) == 1
    assert loss_curve([torch.zeros(4), torch.ones(4)]).tolist() == [0.5, 0.375, 0.25, 0.125, 0.0]


def test_no_loss_allowed_keeps_every_coordinate_that_is_not_zero() -> None:
    assert least_k(loss_curve([torch.tensor([3.0, 0.0, -1.0, 0.0, 2.0])]), 0.0) == 3


def test_bad_input_is_refused_in_one_line() -> None:
    with pytest.raises(SpecError, match=r"expected 0 ≤ max_loss < 1, found 1\.5"):
        least_k(np.array([1.0, 0.0]), 1.5)
    with pytest.raises(SpecError, match="expected at least 1 gradient, found 0"):
        loss_curve([])
    with pytest.raises(SpecError, match="found one at place 1 that is not"):
        loss_curve([torch.ones(2), torch.tensor([1.0, np.nan])])


def test_the_clients_sampled_are_honest_and_follow_from_the_seed() -> None:
    fed = Federation.of(small.experiment(attack=small.attack()))
    rows = client_updates(fed, 7)
    assert rows.shape == (7, fed.network.size)
    assert torch.equal(rows, client_updates(fed, 7))
    with pytest.raises(SpecError, match="clients to sample, found 0"):
        client_updates(fed, 0)


def test_choosing_for_a_federation_says_k_and_its_loss_and_draws_the_picture(tmp_path) -> None:
    fed = Federation.of(small.experiment())
    choice = choose_k(fed, max_loss=0.2, clients=5)
    curve = loss_curve(client_updates(fed, 5))
    plot_loss(curve, 0.2, tmp_path / "loss.png")
    assert (choice.k, choice.loss) == (least_k(curve, 0.2), curve[choice.k])
    assert choice.loss <= 0.2 < curve[choice.k - 1]
    assert choice.scanned_loss <= 0.2
    assert choice.scanned_k % (fed.network.size // fed.rounds_per_epoch) == 0
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")

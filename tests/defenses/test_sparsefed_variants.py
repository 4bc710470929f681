"""Every reading of SparseFed against its listing, round by round."""

from collections.abc import Callable, Iterator

import numpy as np
import oracles_defenses as oracle
import pytest
import torch
from hypothesis import given, settings, strategies as st

from sparsefed.defenses import (
    AutoSparseFed,
    Defense,
    Mean,
    NoMasking,
    SparseFed,
    SubtractMasking,
    ZeroMasking,
)
from sparsefed.defenses.choose_k import least_k, loss_curve
from sparsefed.protocol.dense import dense

K, RHO, SIZE, ROUNDS = 4, 0.9, 23, 12
Listing = Callable[[list[np.ndarray], int, float, list[float]], Iterator[np.ndarray]]
VARIANTS: list[tuple[SparseFed, Listing]] = [
    (SparseFed(k=K, momentum=RHO), oracle.masked_by_zero),
    (SparseFed(k=K, momentum=RHO, masking=SubtractMasking()), oracle.masked_by_subtraction),
    (SparseFed(k=K, momentum=RHO, masking=NoMasking()), oracle.algorithm_5),
    (SparseFed(k=K, momentum=RHO, lr_in_error=True), oracle.error_with_lr),
    (SparseFed(k=K), oracle.algorithm_1),
    (SparseFed(k=K, momentum=RHO, error_decay=0.7), oracle.forgetting),
    (SparseFed(k=K, momentum=RHO, error_decay=0.7, lr_in_error=True), oracle.forgetting_with_lr),
]
seeds = st.integers(0, 2**32 - 1)


def a_run(seed: int) -> tuple[list[np.ndarray], list[float]]:
    draw = np.random.default_rng(seed)
    return list(draw.normal(size=(ROUNDS, 3, SIZE))), draw.uniform(0.01, 1.0, ROUNDS).tolist()


def steps(rule: Defense, matrices: list[np.ndarray], lrs: list[float]) -> Iterator[np.ndarray]:
    state = rule.init(torch.zeros(matrices[0].shape[1], dtype=torch.float64))
    for matrix, lr in zip(matrices, lrs, strict=True):
        delta, state = rule.step(dense(matrix), state, lr)
        yield delta.numpy()


@pytest.mark.parametrize(
    ("rule", "listing"), VARIANTS, ids=lambda value: getattr(value, "__name__", repr(value))
)
@given(seed=seeds)
@settings(max_examples=30)
def test_each_variant_is_its_listing(rule: SparseFed, listing: Listing, seed: int) -> None:
    matrices, lrs = a_run(seed)
    expected = listing([matrix.mean(axis=0) for matrix in matrices], K, RHO, lrs)
    for found, needed in zip(steps(rule, matrices, lrs), expected, strict=True):
        assert np.allclose(found, needed, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("masking", [ZeroMasking(), SubtractMasking(), NoMasking()], ids=repr)
def test_without_momentum_masking_makes_no_difference(masking: ZeroMasking) -> None:
    matrices, lrs = a_run(0)
    plain = steps(SparseFed(k=K), matrices, lrs)
    for found, needed in zip(steps(SparseFed(k=K, masking=masking), matrices, lrs), plain, strict=True):
        assert (found == needed).all()


def test_the_variants_differ_from_one_another() -> None:
    matrices, lrs = a_run(1)
    ends = [np.sum(list(steps(rule, matrices, lrs)), axis=0) for rule, _ in VARIANTS]
    for i, first in enumerate(ends):
        for second in ends[:i]:
            assert not np.allclose(first, second)


def test_with_k_equal_to_d_nothing_waits_and_nothing_is_remembered() -> None:
    # Appendix B.1.1: as k → d the whole momentum buffer is zeroed: the mean without momentum is left.
    matrices, lrs = a_run(2)
    whole = steps(SparseFed(k=SIZE, momentum=RHO), matrices, lrs)
    for found, needed in zip(whole, steps(Mean(), matrices, lrs), strict=True):
        assert np.allclose(found, needed, rtol=1e-12, atol=1e-15)


@given(seed=seeds, k=st.integers(1, SIZE))
@settings(max_examples=30)
def test_what_has_not_moved_the_model_is_in_the_error(seed: int, k: int) -> None:
    matrices, _ = a_run(seed)
    rule, moved = SparseFed(k=k), np.zeros(SIZE)
    state = rule.init(torch.zeros(SIZE, dtype=torch.float64))
    for matrix in matrices:
        delta, state = rule.step(dense(matrix), state)
        assert np.count_nonzero(delta) <= k
        moved += delta.numpy()
    sent = np.sum([matrix.mean(axis=0) for matrix in matrices], axis=0)
    assert np.allclose(moved + state.error.numpy(), sent, rtol=1e-10, atol=1e-12)


@given(seed=seeds, decay=st.floats(0.1, 0.99))
@settings(max_examples=20)
def test_what_can_wait_in_a_forgetting_error_is_bounded_for_good(seed: int, decay: float) -> None:
    push = torch.from_numpy(np.random.default_rng(seed).normal(size=(1, SIZE)))
    rule = SparseFed(k=K, error_decay=decay)
    state = rule.init(torch.zeros(SIZE, dtype=torch.float64))
    for _ in range(200):
        _, state = rule.step(dense(push), state)
        assert float(state.error.norm()) <= float(push.norm()) / (1 - decay)


def test_auto_sparsefed_is_sparsefed_with_the_k_of_the_first_round() -> None:
    matrices, lrs = a_run(3)
    k = least_k(loss_curve([torch.from_numpy(matrices[0].mean(axis=0))]), 0.3)
    shared = {"momentum": RHO, "error_decay": 0.8}
    auto, plain = AutoSparseFed(max_loss=0.3, **shared), SparseFed(k=k, **shared)
    for found, needed in zip(steps(auto, matrices, lrs), steps(plain, matrices, lrs), strict=True):
        assert (found == needed).all()

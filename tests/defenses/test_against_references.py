"""Our rules against byzfl's and Flower's, which no one here wrote, on thousands of generated rounds.

Two of their conventions differ from Blanchard et al.: byzfl's Krum counts n − f − 1 others where the
paper counts n − f − 2, and its Multi-Krum always averages n − f. Told f + 1, it computes the original.
Flower takes a proportion to trim, and rounds down what that makes.
"""

from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
import reference_implementations
import torch

from sparsefed.defenses import (
    ARC,
    MDA,
    NNM,
    RFA,
    Aggregate,
    Bulyan,
    CenteredClipping,
    Krum,
    MeanAroundMedian,
    Median,
    MoNNA,
    MultiKrum,
    TrimmedMean,
)
from sparsefed.protocol.dense import dense

CASES = 1000


@pytest.fixture(scope="module")
def byzfl() -> ModuleType:
    return reference_implementations.byzfl_rules()


@pytest.fixture(scope="module")
def mixing() -> ModuleType:
    return reference_implementations.byzfl_mixing()


@pytest.fixture(scope="module")
def flower() -> ModuleType:
    return reference_implementations.flower_rules()


def rounds(least: int = 1, per_f: int = 2) -> Iterator[tuple[np.ndarray, int]]:
    """Matrices in float64 with an f that they admit: at least `per_f` · f + `least` clients."""
    draw = np.random.default_rng(20220714)
    for _ in range(CASES):
        f = int(draw.integers(0, 6))
        n, d = per_f * f + least + int(draw.integers(0, 12)), int(draw.integers(2, 40))
        matrix = draw.normal(size=(n, d)) * 10.0 ** draw.integers(-4, 5)
        if f > 1 and draw.random() < 0.3:
            matrix[n - f :] = matrix[-1]  # colluders
        yield matrix, f


def agree(rule: Aggregate, matrix: np.ndarray, needed: np.ndarray) -> None:
    found = rule.aggregate(dense(matrix)).numpy()
    assert np.abs(found - needed).max() <= 1e-13 * np.abs(matrix).max(), (rule, matrix.shape)


def weighted(matrix: np.ndarray) -> list[tuple[list[np.ndarray], int]]:
    return [([row], 1) for row in matrix]


def test_trimmed_mean_agrees_with_byzfl(byzfl: ModuleType) -> None:
    for matrix, f in rounds():
        agree(TrimmedMean(f=f), matrix, byzfl.TrMean(f)(matrix))


def test_trimmed_mean_agrees_with_flower(flower: ModuleType) -> None:
    for matrix, f in rounds():
        proportion = (f + 0.25) / len(matrix)
        agree(TrimmedMean(f=f), matrix, flower.aggregate_trimmed_avg(weighted(matrix), proportion)[0])


def test_median_agrees_with_byzfl_and_flower(byzfl: ModuleType, flower: ModuleType) -> None:
    for matrix, _ in rounds():
        agree(Median(), matrix, byzfl.Median()(matrix))
        agree(Median(), matrix, flower.aggregate_median(weighted(matrix))[0])


def test_krum_agrees_with_byzfl(byzfl: ModuleType) -> None:
    for matrix, f in rounds(least=3):
        agree(Krum(f=f), matrix, byzfl.Krum(f + 1)(matrix))


def test_krum_agrees_with_flower(flower: ModuleType) -> None:
    for matrix, f in rounds(least=3):
        agree(Krum(f=f), matrix, flower.aggregate_krum(weighted(matrix), f, 0)[0])


def test_multi_krum_agrees_with_byzfl(byzfl: ModuleType) -> None:
    for matrix, f in rounds(least=3):
        agree(MultiKrum(f=f, m=len(matrix) - f - 1), matrix, byzfl.MultiKrum(f + 1)(matrix))


def test_multi_krum_agrees_with_flower(flower: ModuleType) -> None:
    draw = np.random.default_rng(0)
    for matrix, f in rounds(least=3):
        m = int(draw.integers(1, len(matrix) - f + 1))
        agree(MultiKrum(f=f, m=m), matrix, flower.aggregate_krum(weighted(matrix), f, m)[0])


def test_bulyan_agrees_with_flower(flower: ModuleType) -> None:
    for matrix, f in list(rounds(least=3, per_f=4))[: CASES // 5]:
        needed = flower.aggregate_bulyan(weighted(matrix), f, flower.aggregate_krum, to_keep=0)[0]
        agree(Bulyan(f=f), matrix, needed)


def agree_closely(found: np.ndarray, needed: np.ndarray, matrix: np.ndarray) -> None:
    """Equal up to the rounding of iterations, whose distances cancel."""
    assert np.abs(found - needed).max() <= 1e-9 * np.abs(matrix).max(), matrix.shape


def test_the_geometric_median_agrees_with_byzfl(byzfl: ModuleType) -> None:
    for matrix, _ in list(rounds(least=3))[: CASES // 40]:
        unit = matrix / np.abs(matrix).max()  # both start elsewhere, and end at the same point
        needed = byzfl.GeometricMedian(nu=0.1, T=200)(unit)
        found = RFA(steps=200, nearest=0.1).aggregate(dense(unit)).numpy()
        assert np.abs(found - needed).max() <= 1e-4


def test_centered_clipping_agrees_with_byzfl_over_rounds(byzfl: ModuleType) -> None:
    theirs, ours = byzfl.CenteredClipping(L=3, tau=0.7), CenteredClipping(radius=0.7, steps=3)
    draw, state = np.random.default_rng(0), ours.init(torch.zeros(20, dtype=torch.float64))
    for _ in range(CASES // 10):
        matrix = draw.normal(size=(9, 20))
        delta, state = ours.step(dense(matrix), state)
        agree_closely(delta.numpy(), theirs(matrix), matrix)


def test_the_mean_around_the_median_agrees_with_byzfl(byzfl: ModuleType) -> None:
    for matrix, f in rounds():
        agree(MeanAroundMedian(f=f), matrix, byzfl.Meamed(f)(matrix))


def test_minimum_diameter_averaging_agrees_with_byzfl(byzfl: ModuleType) -> None:
    for matrix, f in list(rounds())[: CASES // 20]:
        if f <= 2:
            agree(MDA(f=f), matrix, byzfl.MDA(f)(matrix))


def test_monna_agrees_with_byzfl_where_the_server_is_the_first_peer(byzfl: ModuleType) -> None:
    for matrix, f in rounds(least=2):
        found = MoNNA(f=f).aggregate(dense(matrix[1:], own=matrix[0])).numpy()
        agree_closely(found, byzfl.MoNNA(f, idx=0)(matrix), matrix)


def test_nearest_neighbor_mixing_and_adaptive_clipping_agree_with_byzfl(mixing: ModuleType) -> None:
    for matrix, f in list(rounds())[: CASES // 2]:
        mixed = NNM(f=f).changed(dense(matrix), 0, 1).rows().numpy()
        agree_closely(mixed, mixing.NNM(f)(matrix.copy()), matrix)
        cut = ARC(f=f).changed(dense(matrix), 0, 1).rows().numpy()
        agree_closely(cut, mixing.ARC(f)(matrix.copy()), matrix)

"""Whatever is finite stays finite: norms, sums, distances, order statistics up to the largest numbers."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

import sparsefed as sf
from sparsefed.attacks.base import fit_to, project
from sparsefed.kernels import (
    gram,
    mean_near_median,
    median,
    norm_of,
    row_norms,
    squared_distances,
    trimmed_mean,
    weighted_sum,
    with_norm,
)

TYPES = [torch.float32, torch.float64]
every_type = pytest.mark.parametrize("dtype", TYPES, ids=str)
WIDTHS = [5, 70, 40_000]  # below, at and far above what a compiled kernel takes


def numbers(shape: tuple[int, int], dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=draw, dtype=torch.float64).to(dtype)


@every_type
@given(exponent=st.integers(-300, 300), columns=st.integers(1, 300))
def test_norms_keep_their_digits_at_every_scale(dtype: torch.dtype, exponent: int, columns: int) -> None:
    exponent = max(-30, min(30, exponent)) if dtype == torch.float32 else exponent
    rows = numbers((3, columns), dtype, columns) * 10.0**exponent
    exact = [math.hypot(*row) for row in rows.double().tolist()]  # NumPy's own squares would overflow
    np.testing.assert_allclose(row_norms(rows).numpy(), exact, rtol=1e-6 if dtype == torch.float32 else 1e-13)


@every_type
def test_only_a_row_that_is_not_finite_has_a_norm_that_is_not(dtype: torch.dtype) -> None:
    largest = torch.finfo(dtype).max
    rows = torch.full((5, 300), largest, dtype=dtype)
    rows[1, 7], rows[2, 0] = math.nan, -math.inf
    rows[3] = 0
    assert row_norms(rows).isfinite().tolist() == [True, False, False, True, True]
    assert row_norms(rows)[3] == 0
    assert row_norms(torch.empty(2, 0, dtype=dtype)).tolist() == [0, 0]
    assert row_norms(rows[:1]).item() == min(largest * math.sqrt(300), torch.finfo(torch.float64).max)


@every_type
def test_a_row_of_any_length_is_given_any_norm(dtype: torch.dtype) -> None:
    for scale in (torch.finfo(dtype).max / 10, 1.0, torch.finfo(dtype).tiny):
        row = with_norm(numbers((1, 50), dtype)[0].clamp(-9, 9) * scale, 2.0)
        assert row.dtype == dtype
        assert float(row.norm()) == pytest.approx(2.0, rel=1e-6)


@every_type
def test_a_mean_is_finite_where_the_sum_is_not(dtype: torch.dtype) -> None:
    largest = torch.finfo(dtype).max
    rows = torch.full((6, 70), largest, dtype=dtype)
    assert (weighted_sum(torch.full((6,), 1 / 6, dtype=torch.float64), rows) <= largest).all()
    rows[3:] *= -1
    canceled = weighted_sum(torch.ones(6, dtype=torch.float64), rows)
    assert (canceled.abs() <= largest * 1e-15).all()
    assert weighted_sum(torch.ones(3, dtype=torch.float64), rows[:3]).isinf().all()  # no number holds it


@every_type
@pytest.mark.parametrize("columns", WIDTHS)
def test_products_and_distances_of_large_rows_are_right_or_the_largest_there_is(
    dtype: torch.dtype, columns: int
) -> None:
    small, scale = numbers((4, columns), torch.float64), 1e30 if dtype == torch.float32 else 1e150
    rows = (small * torch.tensor([[1.0], [1.0], [scale], [scale]], dtype=torch.float64)).to(dtype)
    wide = rows.double()
    exact = ((wide[:, None] - wide[None]) ** 2).sum(-1) if columns < 1000 else None
    for found in (squared_distances(rows), squared_distances(2 * rows, torch.full((4,), 0.5).double())):
        if exact is not None:
            torch.testing.assert_close(found, exact, rtol=1e-5, atol=0.0)
        assert found.isfinite().all()
        assert 0 < float(found[0, 1]) < 1e6 < float(found[2, 3])
    assert gram(rows).isfinite().all()
    torch.testing.assert_close(gram(rows).diagonal(), row_norms(rows).square(), rtol=1e-5, atol=0.0)
    huge = torch.full((2, columns), torch.finfo(dtype).max, dtype=dtype) * torch.tensor([[1], [-1]])
    assert squared_distances(huge).isfinite().all()
    assert squared_distances(huge).diagonal().tolist() == [0, 0]
    assert gram(huge).isfinite().all()
    assert gram(huge)[0, 1] < 0


@every_type
@pytest.mark.parametrize("columns", WIDTHS[:2])
@pytest.mark.parametrize("rows", [4, 5, 9])
def test_order_statistics_of_the_largest_numbers_are_those_of_smaller_ones(
    dtype: torch.dtype, columns: int, rows: int
) -> None:
    unit = numbers((rows, columns), dtype).clamp(-2, 2) / 2
    unit[: rows // 2 + 1, ::2] = 1.0
    scale = 2.0 ** (127 if dtype == torch.float32 else 1023)  # a power of two changes no digit
    for rule in (median, lambda m: trimmed_mean(m, 1), lambda m: mean_near_median(m, 3)):
        torch.testing.assert_close(rule(unit * scale) / scale, rule(unit), rtol=1e-6, atol=1e-7)


def large_ones(size: int, in_a_block: int) -> torch.Tensor:
    """Squares of 2⁻²⁴, which float32 rounds away beside a 1, in blocks that begin with ones."""
    row = torch.full((size,), 2.0**-12)
    row[: size // 128 * 128].view(-1, 128)[:, :in_a_block] = 1.0
    return row


HOSTILE: dict[str, Callable[[int], torch.Tensor]] = {
    "equal": lambda size: torch.full((size,), 0.1),
    "thirds": lambda size: torch.full((size,), 1 / 3),
    "random": lambda size: numbers((1, size), torch.float32, size)[0],
    "one large": lambda size: torch.cat([torch.ones(1), torch.full((size - 1,), 2.0**-12)]),
    "large ones": lambda size: large_ones(size, 1),
    "large ones in every lane": lambda size: large_ones(size, 8),
    "growing": lambda size: torch.linspace(0, 1, size),
    "growing fast": lambda size: torch.linspace(-20, 0, size).exp(),
}
"""Rows of which sums of float32 squares lose most: equal numbers, and small ones behind large ones."""


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("size", [1, 7, 127, 128, 129, 50_890, 1_000_003, 6_999_999])
def test_no_vector_of_float32_has_a_norm_that_is_off_by_a_millionth(kind: str, size: int) -> None:
    row = HOSTILE[kind](size)
    exact = float(torch.linalg.vector_norm(row.double()))
    assert float(norm_of(row)) == pytest.approx(exact, rel=1e-6)
    if size < 100_000:
        other_layouts = (row.repeat(3, 1).T.contiguous().T, torch.stack([row] * 3, 1).T, row.expand(3, -1))
        for rows in other_layouts:
            assert row_norms(rows).tolist() == pytest.approx([exact] * 3, rel=1e-6)


def test_no_update_passes_the_clip_by_more_than_a_millionth_of_it() -> None:
    for kind, make in HOSTILE.items():
        row = make(1_000_003)
        length = float(torch.linalg.vector_norm(row.double()))
        for sent in (row, row / length):  # far longer than L, and as long as an honest one
            clipped = sf.dense(sent[None]).admitted(0.999).sum()
            assert float(torch.linalg.vector_norm(clipped.double())) <= 0.999 * (1 + 1e-6), kind
            assert float(torch.linalg.vector_norm(project(sent, 0.999).double())) <= 0.999 * (1 + 1e-6), kind


@given(st.integers(-149, 127), st.integers(-100, 100), st.integers(1, 2000))
def test_any_upload_can_be_brought_to_any_length(exponent: int, wanted: int, size: int) -> None:
    """Gradients of points that are long learned are subnormal, and an attacker sends them at length L."""
    upload = torch.full((size,), 2.0**exponent)
    upload[::2] *= -1
    norm = 2.0**wanted
    for sent in (fit_to(upload, norm), project(upload, norm)):
        assert sent.isfinite().all()
    assert float(norm_of(fit_to(upload, norm))) == pytest.approx(norm, rel=1e-5)
    assert torch.equal(fit_to(torch.zeros(size), norm), torch.zeros(size))

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from sparsefed.kernels import mean_near_median, median, trimmed_mean
from sparsefed.kernels.intrinsics.networks import network

COLUMNS = 131  # two blocks of a compiled kernel and a ragged end


def matrix_of(rows: int, seed: int = 0, columns: int = COLUMNS) -> np.ndarray:
    """Normal numbers with ties, zeros of both signs and one client that is far away."""
    rng = np.random.default_rng((seed, rows))
    matrix = rng.standard_normal((rows, columns))
    matrix[:, ::3] = matrix[:, ::3].round(1)
    matrix[rows // 2] *= 1e6
    return matrix


def near_median(matrix: np.ndarray, count: int) -> np.ndarray:
    """Column by column; of two values as close, the smaller."""
    result = []
    for column in np.sort(matrix, axis=0).T:
        middle = (column[(len(column) - 1) // 2] + column[len(column) // 2]) / 2
        nearest = sorted(column, key=lambda value, middle=middle: (abs(value - middle), value))
        result.append(np.mean(nearest[:count]))
    return np.array(result)


def test_every_network_sorts_all_zero_one_columns() -> None:
    for wires in range(1, 12):  # the 0-1 principle: a network that sorts these sorts everything
        columns = (np.arange(2**wires) >> np.arange(wires)[:, None]) & 1
        for a, b in network(wires, 0, wires, ordered=True):
            columns[[a, b]] = np.sort(columns[[a, b]], axis=0)
        assert (np.diff(columns, axis=0) >= 0).all()


def test_a_network_may_start_from_sorted_groups() -> None:
    for wires in range(1, 18):
        columns = (np.arange(2**wires) >> np.arange(wires)[:, None]) & 1
        for start in range(0, wires - 7, 8):
            columns[start : start + 8].sort(axis=0)
        for a, b in network(wires, 0, wires, ordered=True, group=8):
            columns[[a, b]] = np.sort(columns[[a, b]], axis=0)
        assert (np.diff(columns, axis=0) >= 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_sizes_of_cohort_agree_with_numpy(dtype: torch.dtype) -> None:
    for rows in [*range(1, 41), 63, 64, 65, 100, 127, 301]:
        matrix = torch.from_numpy(matrix_of(rows)).to(dtype)
        exact, tolerance = matrix.double().numpy(), {"rtol": 1e-5, "atol": 1e-6}
        np.testing.assert_allclose(median(matrix).numpy(), np.median(exact, axis=0), **tolerance)
        for f in {0, rows // 5, (rows - 1) // 2}:
            kept = np.sort(exact, axis=0)[f : rows - f]
            worst = np.abs(kept).sum(axis=0).max()  # rounding is relative to what is added up
            got = trimmed_mean(matrix, f).numpy()
            np.testing.assert_allclose(got, kept.mean(axis=0), rtol=1e-5, atol=1e-6 * max(worst, 1))


def test_the_mean_near_the_median_agrees_with_its_definition() -> None:
    for rows in (1, 2, 3, 8, 15, 60):
        matrix = matrix_of(rows)
        for count in {1, (rows + 2) // 3, rows - 1 or 1}:
            got = mean_near_median(torch.from_numpy(matrix), count).numpy()
            np.testing.assert_allclose(got, near_median(matrix, count), rtol=1e-12, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_factors_and_indices_act_as_on_a_copy(data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 25))
    matrix = torch.from_numpy(matrix_of(rows, seed=data.draw(st.integers(0, 99)))).float()
    chosen = data.draw(st.lists(st.integers(0, rows - 1), min_size=1, max_size=rows, unique=True))
    factors, indices = torch.rand(rows), torch.tensor(chosen)
    copy = (matrix * factors[:, None])[indices]
    f, count = (len(chosen) - 1) // 2, (len(chosen) + 1) // 2
    assert torch.equal(trimmed_mean(matrix, f, factors, indices), trimmed_mean(copy, f))
    assert torch.equal(median(matrix, factors, indices), median(copy))
    assert torch.equal(mean_near_median(matrix, count, factors, indices), mean_near_median(copy, count))


def test_a_far_outlier_leaves_no_trace() -> None:
    matrix = torch.randn(11, 500, generator=torch.Generator().manual_seed(0))
    matrix[4] = 1e30
    for aggregate in (trimmed_mean(matrix, 2), median(matrix), mean_near_median(matrix, 5)):
        assert float(aggregate.abs().max()) < 4


def test_few_columns_strided_rows_and_half_precision_go_through_pytorch() -> None:
    matrix = torch.from_numpy(matrix_of(9)).float()
    for other in (matrix[:, :7], matrix[:, ::2], matrix[::2], matrix.T.contiguous().T, matrix.bfloat16()):
        exact = np.sort(other.double().numpy(), axis=0)
        tolerance = (
            {"rtol": 1e-2, "atol": 1e-2} if other.dtype == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-6}
        )
        np.testing.assert_allclose(median(other).double().numpy(), exact[len(exact) // 2], **tolerance)
        got = mean_near_median(other, 2).double().numpy()
        if other.dtype != torch.bfloat16:  # rounding moves the neighbors of the median
            np.testing.assert_allclose(got, near_median(exact, 2), rtol=1e-5, atol=1e-5)


def test_compiled_and_pytorch_agree_and_threads_do_not_matter() -> None:
    matrix = torch.randn(21, 9_999, generator=torch.Generator().manual_seed(3))
    shuffled = torch.empty(9_999, 21).T.copy_(matrix)  # the same numbers in another layout: PyTorch's path
    before, results = torch.get_num_threads(), []
    for count in (1, 2):
        torch.set_num_threads(count)
        results.append(torch.stack([trimmed_mean(matrix, 4), median(matrix), mean_near_median(matrix, 9)]))
    torch.set_num_threads(before)
    assert torch.equal(*results)
    literal = torch.stack([trimmed_mean(shuffled, 4), median(shuffled), mean_near_median(shuffled, 9)])
    torch.testing.assert_close(results[0], literal)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_agrees() -> None:
    matrix, factors = torch.from_numpy(matrix_of(30)), torch.rand(30).double()
    on_gpu = matrix.cuda(), factors.cuda()
    torch.testing.assert_close(median(*on_gpu).cpu(), median(matrix, factors))
    torch.testing.assert_close(trimmed_mean(on_gpu[0], 5, on_gpu[1]).cpu(), trimmed_mean(matrix, 5, factors))
    torch.testing.assert_close(
        mean_near_median(on_gpu[0], 9, on_gpu[1]).cpu(), mean_near_median(matrix, 9, factors)
    )

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from sparsefed.kernels import gram, squared_distances


def literal(matrix: torch.Tensor, factors: torch.Tensor | None = None) -> np.ndarray:
    rows = matrix.double().numpy() * (1.0 if factors is None else factors.double().numpy()[:, None])
    return np.array([[np.sum((x - y) ** 2) for y in rows] for x in rows])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "shape", [(1, 40_000), (2, 50_001), (5, 1024), (7, 9_001), (33, 1_111), (100, 3_000)]
)
def test_all_pairs_agree_with_numpy(shape: tuple[int, int], dtype: torch.dtype) -> None:
    matrix = torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(1))
    factors = torch.rand(shape[0], dtype=dtype, generator=torch.Generator().manual_seed(2))
    rounding = 1e-5 if dtype == torch.float32 else 1e-12
    rows = matrix.double().numpy()
    np.testing.assert_allclose(gram(matrix).numpy(), rows @ rows.T, rtol=rounding, atol=rounding * shape[1])
    np.testing.assert_allclose(squared_distances(matrix).numpy(), literal(matrix), rtol=rounding)
    got = squared_distances(matrix, factors).numpy()
    np.testing.assert_allclose(got, literal(matrix, factors), rtol=rounding)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_distances_are_symmetric_never_negative_and_0_exactly_for_colluders(data: st.DataObject) -> None:
    rows, columns = data.draw(st.integers(2, 12)), data.draw(st.sampled_from([3, 500, 8_191, 20_000]))
    seed, scale = data.draw(st.integers(0, 99)), data.draw(st.sampled_from([1e-30, 1e-3, 1.0, 1e15]))
    matrix = scale * torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    colluders = data.draw(st.lists(st.integers(0, rows - 1), min_size=2, unique=True))
    matrix[colluders] = matrix[colluders[0]].clone()
    factors = torch.rand(rows)
    factors[colluders] = factors[colluders[0]].clone()
    for distances in (squared_distances(matrix), squared_distances(matrix, factors)):
        assert torch.equal(distances, distances.T)
        assert bool((distances >= 0).all())
        assert bool((distances[colluders][:, colluders] == 0).all())
        assert bool((distances.diagonal() == 0).all())


def test_nearly_identical_rows_keep_their_digits() -> None:
    base = 100 + torch.randn(60_000, generator=torch.Generator().manual_seed(0))
    matrix = base.repeat(3, 1)
    matrix[1, 7] += 1e-3  # an inner product would lose this among 6·10⁸
    matrix[2, ::2] += 1e-3
    np.testing.assert_allclose(squared_distances(matrix).numpy(), literal(matrix), rtol=1e-5)


def test_the_sums_are_more_exact_than_one_matrix_product() -> None:
    matrix = torch.randn(20, 200_000, generator=torch.Generator().manual_seed(0))
    exact = matrix.double() @ matrix.double().T
    assert float((gram(matrix) - exact).abs().max()) < float((matrix @ matrix.T - exact).abs().max())


def test_threads_and_layout_do_not_matter() -> None:
    matrix = torch.randn(13, 20_011, generator=torch.Generator().manual_seed(0))
    before, results = torch.get_num_threads(), []
    for count in (1, 2):
        torch.set_num_threads(count)
        results.append(torch.stack([gram(matrix), squared_distances(matrix)]))
    torch.set_num_threads(before)
    assert torch.equal(*results)
    strided = matrix.T.contiguous().T  # PyTorch's path
    literal_results = torch.stack([gram(strided), squared_distances(strided)])
    torch.testing.assert_close(literal_results, results[0], rtol=1e-5, atol=0.1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_agrees() -> None:
    matrix = torch.randn(30, 50_000, generator=torch.Generator().manual_seed(0))
    matrix[3] = matrix[17]
    on_gpu = squared_distances(matrix.cuda(), torch.full((30,), 0.3).cuda()).cpu()
    torch.testing.assert_close(
        on_gpu, squared_distances(matrix, torch.full((30,), 0.3)), rtol=1e-5, atol=1e-6
    )
    assert float(on_gpu[3, 17]) == 0
    torch.testing.assert_close(gram(matrix.cuda()).cpu(), gram(matrix), rtol=1e-4, atol=1e-1)

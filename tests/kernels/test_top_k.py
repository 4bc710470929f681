import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from sparsefed.kernels import top_k

LARGE = 300_000  # beyond the size at which the sampled path begins


def oracle(vector: np.ndarray, k: int) -> np.ndarray:
    """The k largest magnitudes by a stable sort: of those that tie, the lowest indices; NaN first of all."""
    magnitudes = np.where(np.isnan(vector), np.inf, np.abs(vector))
    return np.sort(np.lexsort((np.arange(len(vector)), -magnitudes, ~np.isnan(vector)))[:k])


def assert_exact(vector: np.ndarray, k: int) -> None:
    np.testing.assert_array_equal(top_k(torch.from_numpy(vector), k).numpy(), oracle(vector, k))


def draw(name: str, size: int) -> np.ndarray:
    rng = np.random.default_rng(7)
    normal = rng.standard_normal(size)
    return {
        "normal": normal,
        "heavy tails": rng.standard_cauchy(size),
        "ties": normal.round(1),
        "two values": np.sign(normal),
        "mostly zero": np.where(normal > 3, normal, 0.0),
        "all zero": np.zeros(size),
        "signed zeros": np.where(normal > 0, 0.0, -0.0),
        "subnormal": normal * 1e-310,
        "with infinities": np.where(normal > 2.5, np.inf * np.sign(normal - 3), normal),
        "with NaN": np.where(normal > 2.5, np.nan, normal),
        "one block is large": np.where(np.arange(size) // 1000 == 17, normal + 50, normal),
        "periodic": np.tile([9.0, 0.1, 0.2, 0.3], size // 4),
        "sorted": np.sort(normal),
    }[name]


NAMES = [
    "normal",
    "heavy tails",
    "ties",
    "two values",
    "mostly zero",
    "all zero",
    "signed zeros",
    "subnormal",
]
NAMES += ["with infinities", "with NaN", "one block is large", "periodic", "sorted"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_chosen_are_the_largest_whatever_the_vector(name: str, dtype: str) -> None:
    vector = draw(name, LARGE).astype(dtype)
    for k in (1, 300, 5_000, LARGE // 2, LARGE - 1, LARGE):
        assert_exact(vector, k)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_magnitudes_are_those_of_torch_topk(dtype: torch.dtype) -> None:
    for size in (1, 63, 64, 65, 131_072, 131_073, 1_000_003):
        vector = torch.randn(size, dtype=dtype, generator=torch.Generator().manual_seed(size))
        for k in {1, min(size, 1000), (size + 1) // 2}:
            chosen = vector.abs()[top_k(vector, k)].sort(descending=True).values
            assert torch.equal(chosen, torch.topk(vector.abs(), k).values)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_small_vectors_of_any_numbers_are_chosen_exactly(data: st.DataObject) -> None:
    dtype, width = data.draw(st.sampled_from([("float32", 32), ("float64", 64)]))
    numbers = st.floats(width=width) | st.sampled_from([0.0, -0.0, 1.0, -1.0])
    vector = data.draw(arrays(dtype, st.integers(1, 60), elements=numbers))
    vector = np.where(np.isnan(vector), np.array(np.nan, dtype), vector)  # one NaN: bits decide among several
    assert_exact(vector, data.draw(st.integers(1, len(vector))))


def test_the_choice_does_not_depend_on_the_number_of_threads() -> None:
    vector = torch.from_numpy(draw("ties", LARGE))
    before, chosen = torch.get_num_threads(), []
    for count in (1, 2):
        torch.set_num_threads(count)
        chosen.append(top_k(vector, 700))
    torch.set_num_threads(before)
    assert torch.equal(*chosen)


def test_strided_and_half_precision_vectors_are_chosen_exactly() -> None:
    vector = torch.from_numpy(draw("normal", 2 * LARGE)).float()
    np.testing.assert_array_equal(top_k(vector[::2], 99).numpy(), oracle(vector[::2].numpy(), 99))
    half = vector.bfloat16()
    np.testing.assert_array_equal(top_k(half, 99).numpy(), oracle(half.float().numpy(), 99))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_chooses_the_same_magnitudes() -> None:
    vector = torch.from_numpy(draw("normal", LARGE))
    on_gpu = vector[top_k(vector.cuda(), 5_000).cpu()].abs().sort().values
    assert torch.equal(on_gpu, vector[top_k(vector, 5_000)].abs().sort().values)

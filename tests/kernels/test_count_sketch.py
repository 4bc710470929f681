import numpy as np
import pytest
import torch

from sparsefed.kernels import CountSketch
from sparsefed.kernels.hashes import STRETCH, hash_keys, mixed, places_and_signs, start_of

SIZE = 50_003  # large enough for the compiled path, with a ragged end


def normal(size: int = SIZE, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(size, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def literal(sketch: CountSketch, vector: np.ndarray) -> np.ndarray:
    """One coordinate after the other, in Python's own unbounded integers."""
    table = np.zeros((sketch.rows, sketch.columns))
    for row, key in enumerate(hash_keys(3, sketch.rows).tolist()):
        for i, value in enumerate(vector):
            bits = (key + i // STRETCH * 0x9E3779B97F4A7C15) % 2**64
            bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 % 2**64
            bits = (bits ^ bits >> 27) * 0x94D049BB133111EB % 2**64
            bits ^= bits >> 31
            cell = ((bits >> 32) * sketch.columns // 2**32 + i % STRETCH) % sketch.columns
            table[row, cell] += -value if bits >> i % STRETCH & 1 else value
    return table


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 7), (5, 501), (4, 100_000)])
def test_a_table_is_what_its_definition_says(rows: int, columns: int) -> None:
    for size in (1, 40, SIZE):
        sketch, vector = CountSketch(rows, columns, size, seed=3), normal(size)
        np.testing.assert_allclose(
            sketch.accumulate(vector).numpy(), literal(sketch, vector.numpy()), rtol=1e-9, atol=1e-9
        )


def test_compiled_and_pytorch_hashes_are_the_same_bits_even_for_extreme_keys() -> None:
    coordinates = torch.tensor([0, 31, 32, 6_568_639, 2**31, 2**40])
    for key in [0, 1, 2**63 - 1, 2**63, 2**64 - 1]:
        for columns in (1, 500_000, 2**31 - 1):
            cells, negative = places_and_signs(key, coordinates, columns)
            for i, coordinate in enumerate(coordinates.tolist()):
                bits = np.uint64(mixed(np.uint64(key), coordinate // STRETCH))
                lane = coordinate % STRETCH
                assert int(cells[i]) == (start_of(bits, columns) + lane) % columns
                assert bool(negative[i]) == bool(int(bits) >> lane & 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [1, 4, 5])
def test_compiled_and_pytorch_agree(rows: int, dtype: torch.dtype) -> None:
    sketch, vector = CountSketch(rows, 3_001, SIZE, seed=1), normal(dtype=dtype)
    table = sketch.accumulate(vector)
    torch.testing.assert_close(table, sketch._literal_accumulate(vector), rtol=1e-5, atol=1e-4)
    assert torch.equal(sketch.estimate(table), sketch._literal_estimate(table))


def test_a_sketch_is_linear() -> None:
    sketch, one, two = CountSketch(5, 4_000, SIZE, seed=7), normal(seed=1), normal(seed=2)
    together = sketch.accumulate(2 * one - 3 * two)
    torch.testing.assert_close(together, 2 * sketch.accumulate(one) - 3 * sketch.accumulate(two))


def test_estimates_are_unbiased_with_the_variance_of_theory() -> None:
    vector, seeds, columns = normal(20_000), 300, 500
    errors = []
    for seed in range(seeds):
        sketch = CountSketch(1, columns, len(vector), seed)
        errors.append(sketch.estimate(sketch.accumulate(vector))[:40] - vector[:40])
    errors = torch.stack(errors)
    deviation = float(torch.linalg.vector_norm(vector)) / columns**0.5
    assert float(errors.mean(dim=0).abs().max()) < 4.5 * deviation / seeds**0.5
    assert 0.9 < float(errors.std() / deviation) < 1.1


def test_neighbours_never_collide_and_strangers_collide_as_often_as_chance_has_it() -> None:
    columns, trials = 64, 4000
    pairs = {"neighbors": (3, 17), "same lane": (5, 5 + 32 * 9), "other lane": (5, 11 + 32 * 9)}
    hits = dict.fromkeys(pairs, 0)
    for seed in range(trials):
        sketch = CountSketch(1, columns, 1000, seed)
        for name, pair in pairs.items():
            first, second = sketch.cells(torch.tensor(pair))[0].tolist()
            hits[name] += first == second
    assert hits["neighbors"] == 0
    expected = trials / columns
    for name in ("same lane", "other lane"):
        assert abs(hits[name] - expected) < 5 * expected**0.5


def test_heavy_hitters_are_found_with_their_values() -> None:
    vector = normal(dtype=torch.float32)
    heavy = torch.arange(11, SIZE, 1000)
    vector[heavy] += torch.where(heavy % 2 == 0, 300.0, -300.0)
    sketch = CountSketch(5, 10_000, SIZE, seed=5)
    chosen, values = sketch.top_k(sketch.accumulate(vector), len(heavy))
    assert chosen.tolist() == heavy.tolist()
    error = float(torch.linalg.vector_norm(vector)) / 100  # ‖v‖₂ / √c
    assert float((values - vector[heavy]).abs().max()) < 3 * error


def test_zeroed_cells_forget_the_coordinates_that_touched_them() -> None:
    sketch = CountSketch(5, 100_000, SIZE, seed=5)
    table, chosen = sketch.accumulate(normal()), torch.tensor([0, 77, SIZE - 1])
    table.scatter_(1, sketch.cells(chosen), 0.0)
    assert float(sketch.estimate(table)[chosen].abs().max()) == 0


def test_tables_do_not_depend_on_the_number_of_threads() -> None:
    sketch, vector = CountSketch(5, 4_000, 100_000, seed=7), normal(100_000, dtype=torch.float32)
    before, tables = torch.get_num_threads(), []
    for count in (1, 2):
        torch.set_num_threads(count)
        tables.append(sketch.accumulate(vector))
    torch.set_num_threads(before)
    assert torch.equal(*tables)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_fills_the_same_cells() -> None:
    sketch, vector = CountSketch(5, 4_000, SIZE, seed=7), normal()
    table = sketch.accumulate(vector)
    torch.testing.assert_close(sketch.accumulate(vector.cuda()).cpu(), table)
    torch.testing.assert_close(sketch.estimate(table.cuda()).cpu(), sketch.estimate(table))

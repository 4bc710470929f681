"""SparseFed by count sketches (Algorithm 10)."""

import math

import numpy as np
import oracles_defenses as oracle
import pytest
import torch
from hypothesis import given, settings, strategies as st

from sparsefed.core.errors import SpecError
from sparsefed.defenses import FetchSGD, PaperFetchSGD, SparseFed
from sparsefed.kernels import CountSketch
from sparsefed.protocol.dense import dense


def matrices_of(sketch: CountSketch) -> np.ndarray:
    """The sketch as explicit matrices [rows, columns, d], by sketching every unit vector."""
    units = torch.eye(sketch.size, dtype=torch.float64)
    return np.stack([sketch.accumulate(unit).numpy() for unit in units], axis=-1)


@pytest.mark.parametrize("kind", [FetchSGD, PaperFetchSGD])
@given(seed=st.integers(0, 2**32 - 1), rows=st.sampled_from([1, 3, 5]), beta=st.sampled_from([0.0, 0.7, 1.0]))
@settings(max_examples=15, deadline=None)
def test_ten_rounds_are_algorithm_10(kind: type[FetchSGD], seed: int, rows: int, beta: float) -> None:
    draw = np.random.default_rng(seed)
    updates, lrs = draw.normal(size=(10, 4, 30)), draw.uniform(0.05, 1, 10).tolist()
    rule = kind(k=3, rows=rows, columns=40, momentum=0.8, error_decay=beta)
    state = rule.init(torch.zeros(30, dtype=torch.float64), seed=seed)
    sketch = matrices_of(rule.sketch(state))
    assert (np.abs(sketch).sum(axis=1) == 1).all()
    moved = np.arange(0)

    def as_we_did(estimates: np.ndarray) -> np.ndarray:
        """Our choice, once it is seen to be one: colliding coordinates have equal estimates."""
        least = np.abs(estimates[moved]).min() if len(moved) == rule.k else 0.0
        assert np.delete(np.abs(estimates), moved).max() <= least + 1e-9
        return moved

    means = [matrix.mean(axis=0) for matrix in updates]
    expected = oracle.fetchsgd(means, as_we_did, 0.8, lrs, sketch=sketch, zeroing=kind is FetchSGD, beta=beta)
    for matrix, lr in zip(updates, lrs, strict=True):
        delta, state = rule.step(dense(matrix), state, lr)
        moved = delta.nonzero()[:, 0].numpy()
        assert np.allclose(delta.numpy(), next(expected), rtol=1e-9, atol=1e-12)


def test_a_sketch_without_collisions_is_true_top_k_with_the_learning_rate_in_the_error() -> None:
    draw = np.random.default_rng(1)
    sketched, true = (
        FetchSGD(k=5, rows=5, columns=100_003, momentum=0.9),
        SparseFed(k=5, momentum=0.9, lr_in_error=True),
    )
    zeros = torch.zeros(50, dtype=torch.float64)
    one, two = sketched.init(zeros), true.init(zeros)
    for _ in range(20):
        updates = dense(draw.normal(size=(3, 50)))
        first, one = sketched.step(updates, one, 0.1)
        second, two = true.step(updates, two, 0.1)
        assert np.allclose(first, second, rtol=1e-10, atol=1e-14)


def test_the_mean_of_the_clients_sketches_is_the_sketch_of_their_mean() -> None:
    draw = torch.Generator().manual_seed(0)
    rule = FetchSGD(k=5, rows=3, columns=64)
    sketch = rule.sketch(rule.init(torch.zeros(500)))
    updates = torch.randn(10, 500, generator=draw, dtype=torch.float64)
    tables = torch.stack([sketch.accumulate(update) for update in updates])
    assert torch.allclose(tables.mean(0), sketch.accumulate(updates.mean(0)), rtol=1e-12, atol=1e-13)


def test_heavy_hitters_are_recovered_as_theory_promises() -> None:
    # One row errs by more than √(8/c)·‖v‖ with probability < 1/8 (Chebyshev), so the median of 5 rows with
    # probability < Σ_{j≥3} C(5,j) (1/8)^j (7/8)^{5−j}; a coordinate twice as large as that error stands out.
    size, columns, rows, heavy = 200_000, 20_000, 5, 100
    draw = np.random.default_rng(2)
    vector = draw.normal(size=size)
    places = draw.choice(size, heavy, replace=False)
    vector[places] = 60.0 * draw.choice([-1, 1], heavy)
    sketch = CountSketch(rows, columns, size, seed=9)
    table = sketch.accumulate(torch.from_numpy(vector))
    errors = np.abs(sketch.estimate(table).numpy() - vector)
    bound = math.sqrt(8 / columns) * np.linalg.norm(vector)
    promised = sum(math.comb(5, j) / 8**j * (7 / 8) ** (5 - j) for j in (3, 4, 5))
    assert (errors > bound).mean() <= promised
    assert 2 * bound < 60.0
    chosen, values = sketch.top_k(table, heavy)
    missed = heavy - len(np.intersect1d(chosen.numpy(), places))
    assert missed <= 2 * promised * heavy
    assert np.abs(values.numpy() - vector[chosen.numpy()]).max() <= 2 * bound


def test_more_columns_make_better_estimates() -> None:
    vector = torch.randn(50_000, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    errors = []
    for columns in (500, 5_000, 50_000):
        sketch = CountSketch(5, columns, 50_000, seed=1)
        errors.append(float((sketch.estimate(sketch.accumulate(vector)) - vector).square().mean().sqrt()))
    assert errors[0] > 2.5 * errors[1] > 5 * errors[2]  # like 1/√c


def test_hashes_follow_from_the_runs_seed() -> None:
    rule, zeros = FetchSGD(k=2, rows=3, columns=50), torch.zeros(100)
    cells = [rule.sketch(rule.init(zeros, seed)).cells(torch.arange(100)) for seed in (1, 1, 2)]
    assert torch.equal(cells[0], cells[1])
    assert not torch.equal(cells[0], cells[2])


def test_a_step_zeroes_the_touched_cells_of_both_tables_and_leaves_the_old_memory_alone() -> None:
    rule = FetchSGD(k=7, rows=5, columns=300, momentum=0.9)
    before = rule.init(torch.zeros(1000), seed=4)
    matrix = torch.randn(4, 1000, generator=torch.Generator().manual_seed(5))
    delta, after = rule.step(dense(matrix), before, 0.5)
    assert not before.velocity.any()
    assert not before.error.any()
    cells = rule.sketch(after).cells(delta.nonzero()[:, 0]).long()
    assert cells.shape == (5, 7)
    for table in (after.velocity, after.error):
        assert table.any()
        assert not table.gather(1, cells).any()


def test_clients_send_a_sketch_and_receive_k_values_with_their_places() -> None:
    assert FetchSGD(k=50_000).traffic(6_568_640) == (2_500_000, 100_000)
    assert SparseFed(k=50_000).traffic(6_568_640) == (6_568_640, 100_000)


def test_more_coordinates_than_the_model_has_are_refused() -> None:
    with pytest.raises(SpecError, match="FetchSGD: `k`: expected at most the model's 8 parameters, found 9"):
        FetchSGD(k=9).init(torch.zeros(8))

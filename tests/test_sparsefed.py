"""What Algorithm 1 promises of every step, whatever the updates."""

import torch
from hypothesis import given, strategies as st

import sparsefed as sf

STEPS = st.tuples(st.integers(1, 6), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**31))
MOMENTUM = st.sampled_from([0.0, 0.5, 0.9])


def drawn(shape: tuple[int, int, int, int], momentum: float):
    """A rule, a memory in mid-run and a round's matrix."""
    clients, params, k, seed = shape
    draw = torch.Generator().manual_seed(seed)
    rule = sf.SparseFed(k=min(k, params), momentum=momentum)
    state = rule.init(torch.zeros(params, dtype=torch.float64))
    state = type(state)(*(torch.randn(params, generator=draw, dtype=torch.float64) for _ in state))
    return rule, state, torch.randn(clients, params, generator=draw, dtype=torch.float64)


@given(STEPS, MOMENTUM)
def test_nothing_is_lost_between_delta_and_error(shape: tuple[int, int, int, int], momentum: float):
    rule, state, matrix = drawn(shape, momentum)
    delta, after = rule.step(sf.dense(matrix), state)
    velocity = momentum * state.velocity + matrix.mean(0)
    assert torch.allclose(delta + after.error, state.error + velocity, rtol=1e-12, atol=1e-12)


@given(STEPS, MOMENTUM)
def test_at_most_k_coordinates_move_and_they_are_the_largest(
    shape: tuple[int, int, int, int], momentum: float
):
    rule, state, matrix = drawn(shape, momentum)
    delta, after = rule.step(sf.dense(matrix), state)
    moved = delta != 0
    assert int(moved.sum()) <= rule.k
    assert bool((after.error[moved] == 0).all())
    assert bool((after.velocity[moved] == 0).all())
    if not moved.all():
        assert float(after.error.abs().max()) <= float(delta[moved].abs().min()) + 1e-12


@given(STEPS, MOMENTUM)
def test_the_order_of_clients_does_not_matter(shape: tuple[int, int, int, int], momentum: float):
    rule, state, matrix = drawn(shape, momentum)
    delta, _ = rule.step(sf.dense(matrix), state)
    turned, _ = rule.step(sf.dense(matrix.flip(0)), state)
    assert torch.allclose(delta, turned, rtol=1e-12, atol=1e-12)


@given(STEPS)
def test_with_k_equal_to_d_it_is_averaging_without_momentum(shape: tuple[int, int, int, int]):
    _, _, matrix = drawn(shape, 0.9)
    rule = sf.SparseFed(k=matrix.shape[1], momentum=0.9)
    state = rule.init(matrix[0])
    for _ in range(3):
        delta, state = rule.step(sf.dense(matrix), state, lr=0.5)
        assert torch.allclose(delta, 0.5 * matrix.mean(0), rtol=1e-12, atol=1e-12)

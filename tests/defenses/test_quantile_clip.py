"""The clip that follows a quantile of the norms (Andrew et al., 2021)."""

import math

import numpy as np
import pytest
import small
import torch
from hypothesis import given, settings, strategies as st

import sparsefed as sf
from sparsefed.federation.round import Federation, run_round
from sparsefed.protocol.clips import AdaptiveClip, Clip, FixedClip, QuantileClip, Unclipped


def followed(clip: QuantileClip, norms: np.ndarray, rounds: int) -> float:
    state = clip.init()
    for _ in range(rounds):
        state = clip.next(state, torch.from_numpy(norms))
    return clip.norm_at(1.0, state)


def test_one_round_is_the_printed_update() -> None:
    clip = QuantileClip(start=2.0, quantile=0.5, rate=0.2)
    state = clip.next(clip.init(), torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]))  # b = 2/5 are at most C
    assert clip.norm_at(0.1, state) == pytest.approx(2.0 * math.exp(-0.2 * (0.4 - 0.5)))


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.1, 0.5, 0.9]), st.floats(0.1, 10))
@settings(max_examples=20)
def test_the_bound_settles_at_the_quantile(seed: int, quantile: float, start: float) -> None:
    norms = np.exp(np.random.default_rng(seed).normal(size=501))
    clip = QuantileClip(start=start, quantile=quantile, rate=0.2)
    found = followed(clip, norms, rounds=600)
    low, high = np.quantile(norms, [max(quantile - 0.04, 0), min(quantile + 0.04, 1)])
    assert 0.9 * low <= found <= 1.1 * high


def test_a_few_enormous_updates_move_it_little() -> None:
    norms = np.linspace(1, 2, 100)
    attacked = norms.copy()
    attacked[:5] = 1e12
    clip = QuantileClip(start=1.5)
    assert followed(clip, attacked, 500) < np.quantile(norms, 0.6)


def test_updates_that_are_not_finite_do_not_count() -> None:
    clip = QuantileClip(start=1.0)
    state = clip.init()
    bad = torch.tensor([math.nan, math.inf])
    assert torch.equal(clip.next(state, bad), state)
    both = clip.next(state, torch.cat([bad, torch.tensor([2.0])]))
    assert torch.equal(both, clip.next(state, torch.tensor([2.0])))


@pytest.mark.parametrize("clip", [Unclipped(), FixedClip(norm=3.0), AdaptiveClip(norm=3.0)], ids=repr)
def test_the_other_clips_remember_nothing(clip: Clip) -> None:
    state = clip.init()
    assert state.numel() == 0
    assert clip.next(state, torch.ones(3)) is state


def test_in_a_federation_the_bound_follows_all_uploads_and_is_resumed_with_the_run(tmp_path) -> None:
    spec = small.experiment(clip=QuantileClip(start=1e-3, rate=0.5), attack=small.attack())
    fed = Federation.of(spec)
    state, bounds = fed.initial_state, []
    for _ in range(12):
        state, report = run_round(fed, state)
        bounds.append(report.clip_norm)
    assert bounds[0] == 1e-3
    assert bounds[-1] > 5e-3
    one, two = tmp_path / "one", tmp_path / "two"
    whole = sf.simulate(spec, one)
    rows = sf.play(spec, two)
    for _ in range(5):
        next(rows)
    rows.close()
    assert sf.simulate(spec, two)["test_accuracy"] == whole["test_accuracy"]
    folder = spec.digest()
    assert (one / folder / "state.safetensors").read_bytes() == (
        two / folder / "state.safetensors"
    ).read_bytes()


@given(st.floats(1e-300, 1e300), st.floats(1e-3, 1e9), st.floats(0.01, 0.99))
def test_rounds_of_zeros_leave_the_bound_as_it_is(start: float, rate: float, quantile: float) -> None:
    clip = QuantileClip(start=start, rate=rate, quantile=quantile)
    assert followed(clip, np.zeros(10), 50) == start
    mixed, alone = (followed(clip, norms, 3) for norms in (np.array([0.0, 0.0, 0.0, 5.0]), np.array([5.0])))
    assert mixed == alone


@given(st.floats(1e-3, 1e9), st.sampled_from([5e-324, 1e-300, 1.0, 1.7e308]))
def test_no_rate_takes_the_bound_to_zero_or_infinity(rate: float, norm: float) -> None:
    clip, state = QuantileClip(rate=rate), QuantileClip().init()
    for _ in range(60):
        state = clip.next(state, torch.full((4,), norm, dtype=torch.float64))
        assert 0 < clip.norm_at(1.0, state) < math.inf
        sf.dense(np.ones((2, 3))).admitted(clip.norm_at(1.0, state))

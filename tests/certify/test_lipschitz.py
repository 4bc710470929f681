"""The constants of the oracle: never exceeded by real pairs of models, and close to what search finds."""

import math

import pytest
import torch
from certify_protocols import SoftmaxRegression
from hypothesis import given, strategies as st

from sparsefed.certify import Oracle, lipschitz_lower_bound, local_steps, softmax_lipschitz, softmax_oracle
from sparsefed.core.errors import SpecError
from sparsefed.data import Digits
from sparsefed.models import MLP, Linear

ROUNDING = 1 + 1e-9


@pytest.fixture(scope="module")
def digits():
    return Digits().load()


@given(
    seed=st.integers(0, 10_000),
    examples=st.integers(1, 6),
    features=st.integers(1, 5),
    spread=st.floats(0.01, 5),
)
def test_softmax_constants_hold_for_every_pair_of_models(seed, examples, features, spread):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(examples, features, generator=generator, dtype=torch.float64)
    regression = SoftmaxRegression(inputs, torch.randint(3, (examples,), generator=generator), classes=3)
    models = spread * torch.randn(2, 3 * features, generator=generator, dtype=torch.float64)
    (change,) = regression.gradient(models).diff(dim=0).abs()
    difference = models.diff(dim=0)
    apart = float(difference.abs().sum()) * ROUNDING
    oracle = softmax_oracle(inputs)
    assert change.max() <= oracle.coordinate * apart
    assert change.max() <= softmax_lipschitz(float(inputs.abs().max())) * apart
    for moving in range(1, len(change) + 1):
        assert change.topk(moving).values.sum() <= oracle.over(moving) * apart
    assert change.norm() <= oracle.stretch * apart
    assert change.norm() <= oracle.mean_stretch * apart
    assert change.norm() <= min(oracle.smoothness, oracle.stretch_l2) * difference.norm() * ROUNDING
    assert regression.gradient(models).abs().sum(1).max() <= oracle.mass * ROUNDING


@given(seed=st.integers(0, 10_000), sizes=st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_constants_of_clients_of_their_own_sizes_hold_for_each_of_them_and_their_mean(seed, sizes):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(sum(sizes), 3, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (len(inputs),), generator=generator)
    models = torch.randn(2, 9, generator=generator, dtype=torch.float64)
    clients = zip(inputs.split(sizes), labels.split(sizes), strict=True)
    gradients = torch.stack([SoftmaxRegression(x, y, classes=3).gradient(models) for x, y in clients])
    changes, difference = gradients[:, 1] - gradients[:, 0], models[1] - models[0]
    l1, l2 = float(difference.abs().sum()) * ROUNDING, float(difference.norm()) * ROUNDING
    oracle = softmax_oracle(inputs, sizes)
    assert changes.norm(dim=1).max() <= min(oracle.stretch * l1, oracle.stretch_l2 * l2)
    assert changes.mean(0).norm() <= min(oracle.mean_stretch * l1, oracle.smoothness * l2)
    assert changes.mean(0).abs().max() <= oracle.coordinate * l1
    assert changes.mean(0).abs().sum() <= oracle.total * l1
    assert gradients.norm(dim=2).max() <= oracle.length * ROUNDING
    assert gradients.mean(0).abs().sum(1).max() <= oracle.mass * ROUNDING


def test_one_quarter_is_reached_where_two_classes_are_even():
    regression = SoftmaxRegression(torch.ones(1, 1), torch.tensor([0]), classes=2)
    step = torch.tensor([[-1e-6, 0.0], [1e-6, 0.0]], dtype=torch.float64)
    change = regression.gradient(step).diff(dim=0).abs().max() / 2e-6
    assert float(change) == pytest.approx(softmax_lipschitz(1.0), rel=1e-6)


def test_the_search_comes_close_to_the_constant_of_real_digits(digits):
    network = Linear(bias=False, zeros=True).network(digits.input_shape, 10, seed=0)
    inputs, labels = digits.inputs(digits.train.x)[:100], digits.train.y[:100]
    found = lipschitz_lower_bound(network, inputs, labels, spread=0.0, starts=2)
    certain = softmax_oracle(inputs.flatten(1)).coordinate
    assert 0.85 * certain < found.value <= certain
    regression = SoftmaxRegression(inputs.flatten(1), labels)
    change = regression.gradient(torch.stack([found.params, found.other])).diff(dim=0).abs()[0]
    assert float(change[found.coordinate] / (found.params - found.other).abs().sum()) == pytest.approx(
        found.value
    )


def test_no_finite_constant_is_in_sight_where_gradients_jump(digits):
    """A ReLU at its kink: closer pairs of models across it give larger bounds, without end."""
    network = MLP(hidden=(4,)).network(digits.input_shape, 10, seed=0)
    network.parameters[0].data.zero_()
    network.parameters[1].data.zero_()
    inputs, labels = digits.inputs(digits.train.x)[:1], digits.train.y[:1]
    pairs = {"spread": 0.0, "starts": 3}
    wide, close, closest = (
        lipschitz_lower_bound(network, inputs, labels, gap=gap, **pairs).value for gap in (1e-2, 1e-4, 1e-6)
    )
    assert close > 50 * wide
    assert closest > 50 * close


def test_a_claimed_constant_gives_the_papers_a_and_the_larger_one_under_clipping():
    oracle = Oracle.claimed(0.25, 100)
    assert oracle.over(20) == pytest.approx(20 * 0.25)
    assert oracle.clipped(20) == pytest.approx(math.sqrt(20 * 100) * 0.25)


def test_the_clip_really_costs_more_than_a_factor_of_1():
    """One coordinate holds half of the squared norm: the clip moves all others by (√(d−1) − 1)/2 of it."""
    d = 101
    heavy = torch.ones(d, dtype=torch.float64)
    heavy[0] = math.sqrt(d - 1)
    step = 1e-7 * torch.nn.functional.one_hot(torch.tensor(0), d).double()
    clipped = [vector / vector.norm() * heavy.norm() for vector in (heavy, heavy + step)]
    spill = (clipped[1] - clipped[0])[1:].abs().sum() / 1e-7
    assert float(spill) > (math.sqrt(d - 1) - 1) / 2
    assert float(spill) < math.sqrt(d)


def test_one_local_step_multiplies_c_with_its_rate_and_more_steps_compound():
    assert local_steps(2.0, [0.1]) == pytest.approx(0.1)
    assert local_steps(2.0, [0.1, 0.1]) == pytest.approx(0.1 + 0.1 * 1.2)
    assert Oracle.claimed(1.0, 4).scaled(0.1).coordinate == pytest.approx(0.1)
    assert softmax_oracle(torch.ones(1, 2)).scaled(1.0, decay=0.5).coordinate == pytest.approx(0.75)


def test_bad_inputs_are_refused():
    with pytest.raises(SpecError, match="finite inputs"):
        softmax_oracle(torch.tensor([[math.nan]]))
    with pytest.raises(SpecError, match="positive sizes of sum 2, found sum 3"):
        softmax_oracle(torch.ones(2, 1), [1, 2])
    with pytest.raises(SpecError, match="scale: expected a finite number of at least 0, found -1"):
        softmax_lipschitz(-1)

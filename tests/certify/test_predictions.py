"""From radius to prediction: no model within the radius turns a point that is called safe."""

import math

import pytest
import torch
from hypothesis import given, strategies as st

from sparsefed.certify import certified_accuracy, gaps, l1_reach, l2_reach, surviving
from sparsefed.core.errors import SpecError


@given(seed=st.integers(0, 10_000), radius=st.floats(0.01, 3))
def test_no_model_within_the_radius_turns_a_surviving_point(seed, radius):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(20, 3, generator=generator, dtype=torch.float64)
    model, move = torch.randn(2, 4, 3, generator=generator, dtype=torch.float64)
    labels = (inputs @ model.T).argmax(1)
    for reach, size in ((l1_reach(inputs), move.abs().sum()), (l2_reach(inputs), move.norm())):
        safe = surviving(gaps(inputs @ model.T, labels), reach, math.log(radius))
        turned = (inputs @ (model + radius * move / size).T).argmax(1) != labels
        assert not (safe & turned).any()


def test_both_reaches_are_attained():
    x = torch.tensor([[0.5, -2.0]], dtype=torch.float64)
    one_weight = torch.zeros(2, 2, dtype=torch.float64)
    one_weight[0, 1] = 1.0
    apart = torch.stack([-x[0], x[0]]) / (math.sqrt(2) * x.norm())
    for change, reach in ((one_weight, l1_reach(x)), (apart, l2_reach(x))):
        logits = x @ change.T
        assert float((logits[0, 1] - logits[0, 0]).abs()) == pytest.approx(float(reach))
    assert float(one_weight.abs().sum()) == pytest.approx(1.0)
    assert float(apart.norm()) == pytest.approx(1.0)


def test_certified_accuracy_counts_right_points_with_enough_gap_only():
    logits = torch.tensor([[3.0, 0.0], [1.0, 0.0], [0.0, 5.0], [0.0, 0.0]])
    labels, reach = torch.tensor([0, 0, 0, 0]), torch.ones(4, dtype=torch.float64)
    assert gaps(logits, labels).tolist() == [3.0, 1.0, -5.0, 0.0]
    assert certified_accuracy(logits, labels, reach, math.log(2.0)) == 25.0
    assert certified_accuracy(logits, labels, reach, math.log(1.0)) == 25.0  # a gap of exactly R may close
    assert certified_accuracy(logits, labels, reach, -math.inf) == 50.0
    assert certified_accuracy(logits, labels, reach, 1e6) == 0.0


def test_bad_input_is_refused():
    with pytest.raises(SpecError, match="found NaN"):
        surviving(torch.ones(1), torch.ones(1), math.nan)
    with pytest.raises(SpecError, match="logits \\[points, classes\\]"):
        gaps(torch.ones(3), torch.ones(3, dtype=torch.long))

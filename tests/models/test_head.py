"""A head on frozen features: computed once of every example, the same for attackers, and never trained."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small
import torch
from torch import Tensor, nn

import sparsefed as sf
from sparsefed.attacks import TriggerBackdoor
from sparsefed.core.errors import DataError, SpecError
from sparsefed.data import Digits, OneClass
from sparsefed.data.mapped import mapped
from sparsefed.federation.federation import _sample
from sparsefed.federation.round import Federation, run_round
from sparsefed.models import Backbone, Features, Head, RandomConvolutions
from sparsefed.runs.sources import own_files

FEATURES = RandomConvolutions(filters=6, kernel=3, pool=2, sample=200)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features are kept on disk: a test must not meet those of another."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def federation(**changes: Any) -> Federation:
    return Federation.of(small.experiment(**{"model": Head(features=FEATURES), **changes}))


def halves(input_shape: tuple[int, ...], factor: float = 0.5) -> nn.Module:
    """A backbone: one random linear layer, and dropout, which must be switched off."""
    layers = [nn.Flatten(), nn.Linear(int(np.prod(input_shape)), 7), nn.Dropout(0.5)]
    layers[1].weight.data.mul_(factor)
    return nn.Sequential(*layers)


def test_random_features_are_convolutions_then_relu_then_means_of_squares():
    inputs = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = FEATURES.raw(inputs, seed=3)(inputs)
    assert found.shape == (5, 6 * 4 * 4)
    again = RandomConvolutions(filters=6, kernel=3, pool=8).raw(inputs, seed=3)(inputs)
    assert torch.allclose(found.view(5, 6, 16).mean(2), again, atol=1e-6)
    assert (found >= 0).all()
    assert not torch.allclose(FEATURES.raw(inputs, seed=4)(inputs), found)


@pytest.mark.parametrize(
    "features", [FEATURES, FEATURES.but(depth=2), Backbone(function="test_head:halves", sample=200)], ids=repr
)
def test_features_are_centered_and_of_mean_length_1_on_the_sample(features: Features):
    inputs = torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = features.fitted(inputs, seed=1)(inputs)
    assert torch.allclose(found.mean(0), torch.zeros(found.shape[1]), atol=1e-6)
    assert float(found.norm(dim=1).mean()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("whitening", [0.0, 0.5, 1.0])
def test_whitening_takes_the_variances_to_a_power(whitening: float):
    inputs = torch.rand(400, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    plain = FEATURES.raw(inputs, seed=1)(inputs)
    turned = FEATURES.but(whitening=whitening, components=20).raw(inputs, seed=1)(inputs)
    variances = torch.linalg.eigvalsh(torch.cov(plain.T.double(), correction=0)).flip(0)[:20]
    expected = variances * (variances / variances[0]) ** -whitening
    assert torch.allclose(torch.cov(turned.T.double(), correction=0), expected.diag(), atol=1e-4)


def test_a_round_of_a_head_is_a_round_of_softmax_regression_on_its_features():
    fed = federation(precision="float64")
    assert fed.network.size == 10 * (fed.dataset.input_shape[0] + 1)
    assert not fed.initial.any()
    state, _ = run_round(fed, fed.initial_state)
    data = fed.local_data(fed.cohort(1), 1)
    gradients = []
    for x, y in zip(data.inputs.split(list(data.sizes)), data.labels.split(list(data.sizes)), strict=True):
        residual = torch.full((len(y), 10), 0.1, dtype=torch.float64) - nn.functional.one_hot(y, 10)
        gradient = torch.cat([(residual.T @ x / len(y)).flatten(), residual.mean(0)])
        gradients.append(gradient * min(1.0, 1.0 / float(gradient.norm())))
    error = torch.stack(gradients).mean(0)
    moved = error.abs().topk(50).indices
    expected = torch.zeros_like(error).scatter(0, moved, error[moved])
    assert torch.allclose(state.params, -fed.spec.schedule.lr(1, 20) * expected, atol=1e-12)


@pytest.mark.parametrize("objective", [sf.Targeted(points=20), TriggerBackdoor(target=0, points=9, size=2)])
def test_attackers_see_their_points_through_the_same_features(objective: sf.Objective):
    fed = federation(attack=small.attack(objective=objective))
    given = fed.spec.data.load()
    raw = objective.auxiliary(given, fed.spec.seed)
    order = np.random.default_rng(0).integers(len(raw.inputs), size=4)
    sample = _sample(given, fed.spec.seed, 200)
    expected = FEATURES.fitted(sample, fed.spec.seed)(raw.inputs[order])
    assert torch.allclose(fed.auxiliary.inputs[order], expected, atol=1e-6)
    assert len(fed.auxiliary.aims.inputs[0]) == fed.dataset.input_shape[0]


def test_features_are_computed_once_and_read_the_second_time(monkeypatch: pytest.MonkeyPatch):
    seen = []
    raw = RandomConvolutions.raw

    def counted(self: RandomConvolutions, inputs: Tensor, seed: int) -> Any:
        function = raw(self, inputs, seed)
        return lambda x: seen.append(len(x)) or function(x)

    monkeypatch.setattr(RandomConvolutions, "raw", counted)
    first, made = federation(), sum(seen)
    second = federation()
    assert sum(seen) - made < made
    assert torch.equal(first.dataset.train.x, second.dataset.train.x)
    other = federation(seed=4)
    assert not torch.equal(first.dataset.train.x, other.dataset.train.x)


def test_a_user_s_function_is_a_backbone_by_its_name_and_its_file_is_watched():
    spec = small.experiment(model={"type": "Head", "features": {"type": "test_head:halves", "factor": 2.0}})
    assert spec.model.features == Backbone(function="test_head:halves", options={"factor": 2.0})
    assert Federation.of(spec).dataset.input_shape == (7,)
    assert "test_head.py" in own_files(spec)["Backbone"]


def test_a_head_has_a_certificate():
    spec = small.experiment(
        rounds=3, model=Head(features=FEATURES, bias=False), defense=sf.Mean(), precision="float64"
    )
    assert sf.certify.certificate(spec, compromised=1).points is not None


@pytest.mark.parametrize(
    ("features", "complaint"),
    [
        (FEATURES.but(pool=9), "at least 9×9 pixels"),
        (Backbone(function="math:prod"), "given inputs of shape .1, 8, 8. fails: AttributeError"),
        (Backbone(function="test_head:halves", options={"factor": 1e38}), "expected finite features"),
    ],
    ids=repr,
)
def test_features_that_do_not_fit_are_one_line(features: Features, complaint: str):
    with pytest.raises(SpecError, match=complaint):
        federation(model=Head(features=features))


def test_features_of_examples_that_change_at_random_are_refused():
    augmented = replace(Digits().load(), augment=lambda x, generator: x)
    with pytest.raises(DataError, match="expected data without `augment`"):
        mapped(augmented, lambda x: x)


def test_a_kernel_without_a_middle_is_refused():
    with pytest.raises(SpecError, match="expected an odd `kernel`, found 4"):
        RandomConvolutions(kernel=4)


def test_a_head_learns_real_digits():
    result = sf.simulate(
        small.experiment(
            rounds=200,
            data=Digits(),
            partition=OneClass(clients=100),
            model=Head(features=RandomConvolutions(filters=16, kernel=3, pool=2)),
            schedule=sf.Triangular(peak=20.0),
            clip=sf.FixedClip(norm=0.1),
            defense=sf.Mean(momentum=0.9),
            anchor=sf.InitialModel(stiffness=1e-4),
            evaluate_every=200,
        )
    )
    assert result["test_accuracy"] > 90

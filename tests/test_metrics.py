"""What a result says of an attack, against numbers worked out by hand."""

import math
from typing import Any

import numpy as np
import pytest
import small
import torch

import sparsefed as sf
from sparsefed.attacks import FixedPerRound, Nobody, Once
from sparsefed.data import IID, Digits
from sparsefed.federation.metrics import error_avoided, evaluate, outsized_impact
from sparsefed.federation.round import Federation
from sparsefed.runs.results import _attack_result, _persistence


def federation(presence: sf.attacks.Presence, **changes: Any) -> Federation:
    """100 clients of 12 or 13 digits in cohorts of 10: an epoch has 10 rounds."""
    return Federation.of(small.experiment(attack=small.attack(presence=presence), **changes))


def looks(hits: dict[int, float]) -> list[dict[str, Any]]:
    return [{"round": round, "attack_accuracy": hit} for round, hit in hits.items()]


def test_mean_and_maximum_are_over_the_looks_of_the_last_epoch():
    seen = looks({5: 90.0, 10: 80.0, 13: 10.0, 16: 60.0, 20: 20.0})
    result = _attack_result(federation(sf.Pool(clients=5)), seen)
    assert result["attack_accuracy_mean"] == 30.0
    assert result["attack_accuracy_max"] == 60.0


@pytest.mark.parametrize("every", [None, 1, 7, 100])
def test_an_attacked_run_is_looked_at_three_times_in_its_last_epoch(every: int | None):
    rows = list(sf.play(small.experiment(attack=small.attack(), rounds=40, evaluate_every=every)))
    late = [row["round"] for row in rows if row["round"] > 30 and "attack_accuracy" in row]
    assert len(late) >= 3
    assert late[-1] == 40


def test_the_rounds_around_an_attack_are_looked_at():
    presence = sf.Pool(clients=5, first=4, last=7)
    spec = small.experiment(attack=small.attack(presence=presence), evaluate_every=100)
    rounds = [row["round"] for row in sf.play(spec) if "attack_accuracy" in row]
    assert rounds[:2] == [3, 7]


@pytest.mark.parametrize(
    ("presence", "share"),
    [(sf.Pool(clients=5), 0.05), (FixedPerRound(count=2), 0.2), (Once(round=3, count=2), 0.02)],
    ids=["pool", "in every cohort", "once"],
)
def test_the_impact_factor_is_points_over_the_examples_that_the_attacker_holds(
    presence: sf.attacks.Presence, share: float
):
    fed = federation(presence, partition=IID(clients=100, per_client=4))
    result = _attack_result(fed, looks({20: 25.0}))
    assert math.isclose(result["oif"], 0.25 * 20 / (share * 400))


def test_without_attackers_there_is_no_impact_factor():
    assert math.isnan(outsized_impact(10.0, 20, 0.0, 400))
    assert sf.simulate(small.experiment(attack=small.attack(presence=Nobody())))["oif"] is None


@pytest.mark.parametrize(
    ("hits", "left", "rounds"),
    [
        ({9: 0.0, 10: 80.0, 12: 41.0, 14: 40.0, 16: 39.0, 20: 90.0}, 80.0, 6),
        ({9: 0.0, 10: 80.0, 12: 79.0, 20: 41.0}, 80.0, None),
        ({9: 10.0, 10: 30.0, 12: 21.0, 14: 19.0}, 30.0, 4),  # 10 is no gain of the attackers
        ({5: 50.0, 9: 10.0, 10: 10.0, 20: 10.0}, 10.0, 0),  # nothing gained, nothing kept
        ({9: 10.0, 10: 8.0, 20: 10.0}, 8.0, 0),
    ],
    ids=["forgotten", "kept to the end", "above the floor", "no gain", "a loss"],
)
def test_persistence_counts_rounds_until_half_of_the_gain_is_lost(
    hits: dict[int, float], left: float, rounds: int | None
):
    result = _persistence(federation(Once(round=10)), looks(hits))
    assert result == {"attack_accuracy_at_leave": left, "persistence_rounds": rounds}


def test_attackers_from_the_first_round_start_at_nothing():
    fed = federation(sf.Pool(clients=5, first=1, last=10))
    assert _persistence(fed, looks({5: 60.0, 10: 80.0, 15: 30.0}))["persistence_rounds"] == 5


def test_persistence_is_not_asked_where_attackers_stay():
    assert _persistence(federation(sf.Pool(clients=5)), looks({10: 80.0, 20: 10.0})) == {}


def test_an_attack_that_does_nothing_does_not_persist():
    attack = small.attack(presence=Once(round=10), method=sf.PGD(epochs=1, norm=1e-9))
    result = sf.simulate(small.experiment(attack=attack))
    assert result["persistence_rounds"] == 0


def test_accuracies_are_those_of_numpy_with_and_without_the_auxiliary_points():
    fed = federation(sf.Pool(clients=5))
    assert fed.auxiliary is not None
    params = torch.randn(fed.network.size, generator=torch.Generator().manual_seed(0))
    fed.network.bind(params)
    with torch.no_grad():
        test = Digits().load()
        said = fed.network.module(test.inputs(test.test.x)).argmax(1).numpy()
    truth, rest = test.test.y.numpy(), np.ones(500, bool)
    rest[fed.auxiliary.test_positions] = False
    found = evaluate(fed.network, params, fed.dataset, fed.auxiliary)
    assert math.isclose(found.test_accuracy, 100 * np.mean(said == truth))
    assert math.isclose(found.test_accuracy_rest, 100 * np.mean((said == truth)[rest]))
    wanted = said[fed.auxiliary.test_positions] == fed.auxiliary.labels.numpy()
    assert found.attack_accuracy is not None
    assert math.isclose(found.attack_accuracy, 100 * np.mean(wanted))
    by_class = [100 * np.mean((said == truth)[rest & (truth == c)]) for c in range(10)]
    np.testing.assert_allclose(found.accuracy_by_class, by_class)


def test_stealth_loss_is_what_the_twin_has_more():
    result = sf.simulate(small.experiment(attack=small.attack(), twin=True))
    rows = list(sf.play(small.experiment(attack=small.attack(), twin=True)))
    lost = rows[-1]["twin_test_accuracy_rest"] - rows[-1]["test_accuracy_rest"]
    assert math.isclose(result["stealth_loss"], lost, abs_tol=1e-12)


def test_a_diverged_run_boasts_no_accuracy():
    spec = small.experiment(
        schedule=sf.Constant(value=1e20), clip=sf.Unclipped(), defense=sf.Mean(momentum=0.9), evaluate_every=1
    )
    result = sf.simulate(spec)
    assert result["outcome"] == "diverged"
    assert result["test_accuracy"] is None


@pytest.mark.parametrize(
    ("labels", "accuracy", "loss", "avoided"),
    [
        ([0] * 884 + [1] * 116, 99.6, 0.02, 96.6),  # two classes, one of them rare: a good model
        ([0] * 884 + [1] * 116, 88.4, 0.4, 0.0),  # the same, always naming the most common
        ([0] * 5 + [1] * 5, 40.0, 0.7, -20.0),
        (list(range(10)), 10.0, 2.3, 0.0),
        (list(range(10)), 100.0, 0.0, 100.0),
        ([[0, 1], [2, 3], [-100, -100]], 25.0, math.log(4), 0.0),  # a text, by its cross entropy
        ([[0, 1], [2, 3], [-100, -100]], 30.0, math.log(4) / 2, 50.0),
        ([1, 1, 1], 100.0, 0.0, math.nan),  # nothing to avoid
    ],
)
def test_the_error_avoided_is_that_of_the_most_common_label(
    labels: list[Any], accuracy: float, loss: float, avoided: float
):
    found = error_avoided(torch.tensor(labels), accuracy, loss)
    assert found == pytest.approx(avoided, abs=0.1, nan_ok=True)

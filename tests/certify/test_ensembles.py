"""Ensembles trained for real: the same as one by one, resumable, and as sturdy as they are certified."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge as Reference

import sparsefed as sf
from sparsefed.certify.votes.ballots import cast
from sparsefed.certify.votes.certifiers import Certified, Votes
from sparsefed.certify.votes.groups import Hashed, tally
from sparsefed.certify.votes.together import stackable, trained_together
from sparsefed.certify.votes.trainers import Ridge, Rounds, Trainer, federation_of, trained, votes_of
from sparsefed.core.errors import RunError, SpecError
from sparsefed.data import IID, Digits
from sparsefed.defenses import Krum
from sparsefed.models import CNN, MLP, Linear


def base(**changes) -> sf.Experiment:
    parts = {
        "rounds": 5,
        "cohort": 60,
        "data": Digits(),
        "partition": IID(clients=60),
        "model": Linear(zeros=True),
        "schedule": sf.Constant(value=1.0),
        "clip": sf.FixedClip(norm=1.0),
        "defense": sf.defenses.Mean(),
    }
    return sf.Experiment(**{**parts, **changes})


def exhausted(steps):
    """What a generator returns, and what it yielded."""
    seen = []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as end:
            return end.value, seen


def certified(fed: sf.Federation, by: Votes, folder: Path | None = None) -> Certified:
    return exhausted(by.run(fed, folder))[0]


def test_ridge_is_the_reference_solution_of_every_group():
    fed = sf.Federation.of(base())
    groups = Hashed(groups=9).members(60, seed=2)
    votes = Ridge(penalty=0.3).opinions(fed, groups).votes
    x, y = fed.dataset.train.x.flatten(1).numpy(), np.eye(10)[fed.dataset.train.y.numpy()]
    test = fed.dataset.test.x.flatten(1).numpy()
    for group, found in zip(groups, votes, strict=True):
        mine = fed.population.gather(group)[0]
        scores = Reference(alpha=0.3, solver="cholesky").fit(x[mine], y[mine]).predict(test)
        best = scores.max(1) - np.sort(scores, 1)[:, -2] > 1e-4  # a tie is the rounding's to decide
        assert np.array_equal(found[best], scores.argmax(1)[best])


def test_ridge_of_many_examples_by_sums_is_the_same():
    fed, own = sf.Federation.of(base()), Ridge(penalty=0.3)
    everyone = np.arange(60, dtype=np.int32)
    one = own.opinions(fed, [everyone]).votes[0]
    two = own.opinions(fed, [everyone, everyone[:30]]).votes[0]
    assert (one == two).mean() > 0.99


def test_a_group_trains_as_if_there_were_no_other_client():
    experiment = base(model=MLP(hidden=(8,)), cohort=10)
    fed = sf.Federation.of(experiment)
    group = Hashed(groups=6).members(60, seed=0)[3]
    alone = federation_of(fed, group)
    state = alone.initial_state
    for _ in range(5):
        state, _ = sf.run_round(alone, state)
    assert np.array_equal(Rounds().opinions(fed, [group]).votes[0], votes_of(alone, state.params))
    changed = fed.dataset.train.y.clone()
    others = np.setdiff1d(np.arange(60), group)
    changed[fed.population.gather(others)[0]] = 0
    poisoned = replace(fed, dataset=replace(fed.dataset, train=fed.dataset.train._replace(y=changed)))
    assert np.array_equal(Rounds().opinions(poisoned, [group]).votes, Rounds().opinions(fed, [group]).votes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model": MLP(hidden=(8,)), "cohort": 4, "defense": sf.SparseFed(k=40, momentum=0.5)},
        {"clients": sf.FedAvg(local_epochs=2, batch_size=5, weight_decay=0.01), "clip": sf.QuantileClip()},
        {"model": MLP(hidden=(8,)), "defense": sf.Median(), "anchor": sf.InitialModel(stiffness=0.01)},
    ],
    ids=["mean", "sampled, SparseFed", "FedAvg, quantile clip", "median, anchored"],
)
def test_groups_train_together_as_they_train_alone(changes):
    fed = sf.Federation.of(base(precision="float64", **changes))
    feds = [federation_of(fed, group) for group in Hashed(groups=7).members(60, seed=0)]
    training = stackable(fed)
    assert training is not None
    for own, params in zip(feds, trained_together(feds, training), strict=True):
        assert torch.allclose(params, trained(own), rtol=1e-7, atol=1e-9)


def test_models_that_no_stack_helps_train_one_after_the_other():
    drawing = sf.Federation.of(base(model=CNN(width=2, hidden=4)))
    assert stackable(drawing) is None
    groups = Hashed(groups=20).members(60, seed=0)
    assert Rounds().at_once(drawing, 3) == 1
    assert Rounds().opinions(drawing, groups[:2]).votes.shape == (2, 500)


class ByTwo(Rounds):
    """Two groups at a time."""

    def at_once(self, fed, clients):
        return 2


def test_a_stopped_training_goes_on_where_it_was(tmp_path: Path):
    fed, groups = sf.Federation.of(base()), Hashed(groups=6).members(60, seed=0)
    whole, steps = exhausted(cast(fed, ByTwo(), groups))
    assert steps == [2, 4, 6]
    stopped = cast(fed, ByTwo(), groups, tmp_path)
    next(stopped), next(stopped)
    stopped.close()
    resumed, steps = exhausted(cast(fed, ByTwo(), groups, tmp_path))
    assert steps == [6]
    assert np.array_equal(resumed.votes, whole.votes)
    (file,) = tmp_path.glob("*.npz")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(RunError, match="expected the votes of an ensemble, found a damaged file"):
        exhausted(cast(fed, ByTwo(), groups, tmp_path))


class Poisoned(Trainer):
    """Ridge regression where the clients in `bad` send examples of `label` that look like `target`."""

    bad: list[int]
    label: int
    target: int

    def at_once(self, fed, clients):
        return 8

    def opinions(self, fed, groups):
        train, test = fed.dataset.train, fed.dataset.test
        x, y = train.x.clone(), train.y.clone()
        mine = fed.population.gather(np.array(self.bad, np.int32))[0]
        x[mine], y[mine] = test.x[self.target], self.label
        data = replace(fed.dataset, train=train._replace(x=x, y=y))
        return Ridge().opinions(replace(fed, dataset=data), groups)


def test_trained_attacks_never_turn_a_certified_point_and_turn_it_just_above():
    """The strongest placement, an attacker in each group that votes right, and examples to own the group."""
    fed, by = sf.Federation.of(base()), Votes(groups=Hashed(groups=12), trainer=Ridge())
    clean = certified(fed, by)
    groups = by.groups.members(60, 0)
    votes = exhausted(cast(fed, by.trainer, groups))[0].votes
    counts = tally(votes, 10)
    turned_above = tried = 0
    for point in range(0, 500, 25):
        winner, m = int(clean.predictions[point]), int(clean.survived[point])
        rival = max((c for c in range(10) if c != winner), key=lambda c: (counts[point, c], -c))
        order = sorted(range(12), key=lambda g: (votes[g, point] != winner, votes[g, point] == rival))
        for size in (m, m + 1):
            bad = [int(groups[g][0]) for g in order[:size]]
            trainer = Poisoned(bad=bad, label=rival, target=point)
            attacked = trainer.opinions(fed, groups).votes if bad else votes
            now = tally(attacked, 10)[point].argmax()
            if size == m:
                assert now == winner
            else:
                tried += 1
                turned_above += now != winner
    assert turned_above >= 0.9 * tried


def test_what_a_certificate_says_is_consistent():
    fed = sf.Federation.of(base())
    found = certified(fed, Votes(groups=Hashed(groups=20), trainer=Ridge()))
    labels = fed.dataset.test.y.numpy()
    curve = [found.percent(labels, m) for m in range(12)]
    assert curve == sorted(curve, reverse=True)
    assert curve[0] == found.accuracy(labels) > 80
    assert curve[11] == 0  # unanimous for class 0, ten of twenty moved votes only tie
    assert found.alone is not None
    assert (found.alone == labels).mean() > 0.85


def test_impossible_ensembles_are_refused_in_one_line():
    fed = sf.Federation.of(base(model=MLP(hidden=(8,))))
    with pytest.raises(SpecError, match="expected Linear or Head as the model"):
        certified(fed, Votes(groups=Hashed(groups=3), trainer=Ridge()))
    with pytest.raises(SpecError, match="at most a group per client, found 60 clients"):
        certified(fed, Votes(groups=Hashed(groups=61)))
    few = sf.Federation.of(base(defense=Krum(f=3)))
    with pytest.raises(sf.UpdateError, match="a group of 3 clients: Krum"):
        certified(few, Votes(groups=Hashed(groups=20)))


def test_predictions_follow_the_seed_alone():
    fed = sf.Federation.of(base())
    torch.manual_seed(1)
    first = certified(fed, Votes(groups=Hashed(groups=5)))
    torch.manual_seed(2)
    assert np.array_equal(first.predictions, certified(fed, Votes(groups=Hashed(groups=5))).predictions)

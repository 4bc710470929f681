"""A group's own radius: no clients change a vote that they are said to be too few for, nor a gap by more."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

import sparsefed as sf
from sparsefed.certify.votes.bounded import BoundedRidge, Reach
from sparsefed.certify.votes.certifiers import Combined, Votes
from sparsefed.certify.votes.groups import Hashed
from sparsefed.core.errors import SpecError
from sparsefed.data import IID, Digits
from sparsefed.models import Head, Linear
from sparsefed.models.features import RandomConvolutions


def gap_of(weights: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """The gap of class 0 over class 1."""
    return x @ (weights[:, 0] - weights[:, 1])


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    penalty=st.floats(0.3, 30),
    count=st.integers(1, 3),
    kind=st.sampled_from(["random", "aligned", "gone"]),
)
def test_replaced_clients_change_no_gap_by_more_than_the_reach(seed, penalty, count, kind):
    draw = torch.Generator().manual_seed(seed)
    own = BoundedRidge(penalty=penalty, examples=2, length=1.5)
    owners = torch.arange(20) // 2
    inputs = torch.randn(20, 4, generator=draw, dtype=torch.float64)
    inputs *= (own.length / inputs.norm(dim=1, keepdim=True)).clamp(max=1)
    targets = torch.nn.functional.one_hot(torch.randint(3, (20,), generator=draw), 3).double()
    reach = Reach.of(inputs, targets, owners, own)
    x = torch.randn(4, generator=draw, dtype=torch.float64)
    for first in range(0, 20, 6):
        bad = (
            owners // 3 == first // 6
            if count == 3
            else (owners >= first // 2) & (owners < first // 2 + count)
        )
        forged, labels = inputs.clone(), targets.clone()
        if kind == "gone":
            forged, labels = inputs[~bad], targets[~bad]
        else:
            pushed = (
                torch.randn(20, 4, generator=draw, dtype=torch.float64)
                if kind == "random"
                else x.expand(20, 4)
            )
            forged[bad] = (own.length * pushed / pushed.norm(dim=1, keepdim=True))[bad]
            labels[bad] = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
        after = Reach.of(forged, labels, torch.zeros(len(forged), dtype=torch.int64), own)
        moved = (gap_of(after.weights, x) - gap_of(reach.weights, x)).abs()
        size = torch.linalg.vector_norm(torch.linalg.solve_triangular(reach.root, x[:, None], upper=False))
        spread = (reach.weights[:, 0] - reach.weights[:, 1]).norm()
        assert moved <= size * reach.per_length(int(bad.sum()) // 2, spread) + 1e-9


def federation(clients: int = 320, **changes) -> sf.Federation:
    parts = {
        "rounds": 1,
        "cohort": clients,
        "data": Digits(),
        "partition": IID(clients=clients, per_client=4),
        "model": Head(features=RandomConvolutions(filters=16, kernel=3, pool=2), bias=False),
        "schedule": sf.Constant(value=1.0),
        "defense": sf.defenses.Mean(),
    }
    return sf.Federation.of(sf.Experiment(**{**parts, **changes}))


def exhausted(steps):
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_both_budgets_together_certify_at_least_what_the_votes_do_and_more():
    fed, own = federation(), BoundedRidge(penalty=30.0, examples=4)
    both = exhausted(Combined(groups=Hashed(groups=3), trainer=own).run(fed))
    alone = exhausted(Votes(groups=Hashed(groups=3), trainer=own).run(fed))
    assert np.array_equal(both.predictions, alone.predictions)
    assert (both.survived >= alone.survived).all()
    assert (both.survived > alone.survived).mean() > 0.05


def test_a_group_keeps_its_vote_while_no_more_clients_attack_than_it_bears():
    fed, own = federation(), BoundedRidge(penalty=30.0, examples=4)
    group = np.arange(200, dtype=np.int32)
    before = own.opinions(fed, [group])
    assert before.costs is not None
    generator = np.random.default_rng(0)
    train = fed.dataset.train
    for point in np.flatnonzero(before.costs[0] > 1)[:40:4]:
        bears = int(before.costs[0, point]) - 1
        bad = generator.choice(200, bears, replace=False).astype(np.int32)
        x, y = train.x.clone(), train.y.clone()
        mine = fed.population.gather(bad)[0]
        x[mine], y[mine] = 100 * fed.dataset.test.x[point], int(before.votes[0, point] + 1) % 10
        attacked = replace(fed, dataset=replace(fed.dataset, train=train._replace(x=x, y=y)))
        assert own.opinions(attacked, [group]).votes[0, point] == before.votes[0, point]


def test_what_has_no_radius_is_refused_in_one_line():
    fed = federation(model=Linear())
    with pytest.raises(SpecError, match="expected a trainer with a radius of its own"):
        exhausted(Combined(groups=Hashed(groups=3), trainer=sf.certify.Ridge()).run(fed))
    with pytest.raises(SpecError, match="`examples`"):
        BoundedRidge()

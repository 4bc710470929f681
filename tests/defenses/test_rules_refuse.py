"""A rule that is used where it cannot work says what it found and needs, and leaves the state alone."""

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from sparsefed.core.errors import SpecError, UpdateError
from sparsefed.defenses import (
    CRFL,
    FLAME,
    LASA,
    MDA,
    NNM,
    RFA,
    RLR,
    Bucketing,
    Bulyan,
    CenteredClipping,
    Defense,
    DnC,
    Krum,
    Mean,
    MeanAroundMedian,
    Median,
    MultiKrum,
    PaperBulyan,
    PaperKrum,
    SignMajority,
    SparseFed,
    TrimmedMean,
)
from sparsefed.protocol.dense import dense
from sparsefed.protocol.updates import Updates

LEAST = [
    (Mean(), 1),
    (SparseFed(k=2), 1),
    (TrimmedMean(f=0), 1),
    (TrimmedMean(f=3), 7),
    (Median(), 1),
    (Krum(f=0), 3),
    (Krum(f=2), 7),
    (PaperKrum(f=0), 4),
    (PaperKrum(f=2), 7),
    (MultiKrum(f=2, m=2), 7),
    (MultiKrum(f=2, m=8), 10),
    (Bulyan(f=2), 11),
    (PaperBulyan(f=2), 11),
    (RFA(), 1),
    (CenteredClipping(radius=1.0), 1),
    (MeanAroundMedian(f=2), 5),
    (RLR(threshold=3), 3),
    (SignMajority(), 1),
    (DnC(f=2), 5),
    (MDA(f=2), 5),
    (LASA(length_limit=9.0, sign_limit=9.0), 3),
    (FLAME(), 3),
    (CRFL(norm=1.0), 1),
    (NNM(f=2), 5),
    (Bucketing(rule=Krum(f=1), size=2), 9),
]
every_rule = pytest.mark.parametrize(("rule", "least"), LEAST, ids=repr)


def test_the_message_names_the_rule_the_need_and_the_finding() -> None:
    with pytest.raises(UpdateError, match=r"^TrimmedMean\(f=3\): expected at least 7 updates, found 5$"):
        TrimmedMean(f=3).aggregate(dense(np.ones((5, 2))))
    with pytest.raises(UpdateError, match=r"^Median\(\): expected at least 1 update, found 0$"):
        Median().aggregate(dense(np.ones((0, 2))))
    with pytest.raises(UpdateError, match=r"^Krum\(f=1\): expected finite updates, found 2 that are not$"):
        Krum(f=1).aggregate(dense(np.array([[1.0], [np.nan], [2.0], [np.inf], [3.0]])))
    with pytest.raises(UpdateError, match=r"^Median\(\): expected updates of 3 parameters, found 2$"):
        Median().step(dense(np.ones((5, 2))), Median().init(torch.zeros(3)))


@every_rule
def test_every_rule_works_from_its_least_number_of_updates_on(rule: Defense, least: int) -> None:
    matrix = np.random.default_rng(0).normal(size=(least, 4))
    state = rule.init(torch.zeros(4, dtype=torch.float64))
    delta, _ = rule.step(dense(matrix), state)
    assert delta.isfinite().all()
    assert rule.least == least
    with pytest.raises(UpdateError, match=f"expected at least {least} update.*found {least - 1}"):
        rule.step(dense(matrix[:-1]), state)


@every_rule
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_updates_that_are_not_finite_never_reach_the_state(rule: Defense, least: int, bad: float) -> None:
    matrix = np.random.default_rng(0).normal(size=(least, 4))
    _, state = rule.step(dense(matrix), rule.init(torch.zeros(4, dtype=torch.float64)))
    before = [tensor.clone() for tensor in state]
    matrix[0, 1] = bad
    with pytest.raises(UpdateError, match="expected finite updates, found 1 that are not"):
        rule.step(dense(matrix), state)
    assert all(torch.equal(*pair) for pair in zip(state, before, strict=True))


@every_rule
def test_updates_of_another_size_are_refused(rule: Defense, least: int) -> None:
    with pytest.raises(UpdateError, match="expected updates of 4 parameters, found 5"):
        rule.step(dense(np.ones((least, 5))), rule.init(torch.zeros(4, dtype=torch.float64)))


@every_rule
def test_a_plain_matrix_is_refused_with_how_to_make_updates_of_it(rule: Defense, least: int) -> None:
    with pytest.raises(UpdateError, match=r"expected updates made by `sparsefed.dense`, found a Tensor$"):
        rule.step(torch.ones(least, 4), rule.init(torch.zeros(4)))  # pyright: ignore[reportArgumentType]


OWN_STATE = [each for each in LEAST if type(each[0]).init.__annotations__["return"] is not Any]
"""Rules that do not wrap another, whose state would be theirs."""


@pytest.mark.parametrize(("rule", "least"), OWN_STATE, ids=repr)
def test_the_state_of_another_rule_is_refused(rule: Defense, least: int) -> None:
    class Other(NamedTuple):
        velocity: torch.Tensor

    updates = dense(torch.ones(max(least, 1), 4))
    for state, found in ((Other(torch.zeros(4)), "an Other of velocity"), (None, "nothing")):
        with pytest.raises(UpdateError, match=f"expected the state that `init` returns .* found {found}$"):
            rule.step(updates, state)


@pytest.mark.parametrize("annotation", ["the memory", "torch.Foo", "Unknown", None])
def test_a_rule_may_annotate_its_state_as_it_likes(annotation: str | None) -> None:
    class Own(Mean):
        pass

    def init(self: Own, params: torch.Tensor, seed: int = 0) -> Any:
        return Mean.init(self, params, seed)

    init.__annotations__["return"] = annotation
    Own.init = init
    rule = Own()
    delta, _ = rule.step(dense(torch.ones(3, 4)), rule.init(torch.zeros(4)))
    assert delta.tolist() == [1.0] * 4


def test_a_subclass_may_hand_a_part_of_its_state_to_its_base() -> None:
    class Both(NamedTuple):
        mine: Any
        rounds: torch.Tensor

    class Counting(Mean):
        def init(self, params: torch.Tensor, seed: int = 0) -> Both:
            return Both(super().init(params, seed), torch.tensor(0))

        def step(self, updates: Updates, state: Both, lr: float = 1.0) -> tuple[torch.Tensor, Both]:
            delta, mine = super().step(updates, state.mine, lr)
            return delta, Both(mine, state.rounds + 1)

    rule, updates = Counting(), dense(torch.ones(3, 4))
    delta, state = rule.step(updates, rule.init(torch.zeros(4)))
    assert (delta.tolist(), int(state.rounds)) == ([1.0] * 4, 1)


def test_impossible_fields_are_refused_by_name() -> None:
    for rule, field in [(TrimmedMean, "f"), (Krum, "f"), (Bulyan, "f")]:
        with pytest.raises(SpecError, match=f"{rule.__name__}: `{field}`.*found -1"):
            rule(f=-1)
    with pytest.raises(SpecError, match=r"MultiKrum: `m`.*found 0"):
        MultiKrum(f=1, m=0)
    with pytest.raises(SpecError, match=r"Median: `f`: unknown key"):
        Median(f=1)
    with pytest.raises(SpecError, match=r"Krum: `momentum`.*found 1.0"):
        Krum(f=1, momentum=1.0)

"""Knobs: every spec declares which of its fields a search may turn, and any turn is a valid value."""

import pytest
from hypothesis import given, strategies as st

import sparsefed as sf
from sparsefed.core.knobs import Knob, knobs_of
from sparsefed.core.members import family_members
from sparsefed.core.spec import Spec
from sparsefed.defenses.base import Defense
from sparsefed.protocol.anchors import Anchor
from sparsefed.protocol.clips import Clip
from sparsefed.protocol.schedules import Schedule

TUNABLE = [
    member
    for family in (Defense, Clip, Schedule, Anchor)
    for member in family_members(family)
    if member.knobs and member.__module__.startswith("sparsefed.")
]


@pytest.mark.parametrize("member", TUNABLE, ids=lambda member: member.__name__)
def test_a_knob_belongs_to_a_field(member: type[Spec]) -> None:
    assert set(member.knobs) <= set(member.model_fields)


@pytest.mark.parametrize("member", TUNABLE, ids=lambda member: member.__name__)
@given(turn=st.floats(0, 1))
def test_every_turn_of_every_knob_is_a_valid_value(member: type[Spec], turn: float) -> None:
    sizes = {"params": 5000, "cohort": 100}
    values = {
        name: knob.value(knob.low + turn * (knob.high - knob.low), sizes)
        for name, knob in member.knobs.items()
    }
    required = {name for name, field in member.model_fields.items() if field.is_required()}
    assert required <= set(values)
    member(**values)


def test_an_experiment_has_the_knobs_of_its_parts_but_not_those_of_the_attack() -> None:
    experiment = sf.read_experiment("examples/digits.toml")
    own = {"schedule.peak", "clip.norm", "defense.momentum", "defense.k", "defense.error_decay"}
    assert set(knobs_of(experiment)) == own
    anchored = experiment.but(anchor=sf.InitialModel(stiffness=0.01))
    assert set(knobs_of(anchored)) == own | {"anchor.stiffness"}


def test_a_share_is_a_whole_number_of_at_least_one() -> None:
    knob = Knob(1e-4, 0.1, log=True, share_of="params")
    assert [knob.value(share, {"params": 1000}) for share in (1e-4, 0.0123, 0.1)] == [1, 12, 100]

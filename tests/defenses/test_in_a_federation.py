"""Every defense inside a federation: named in a spec, attacked, recorded, stopped and resumed."""

from pathlib import Path

import pytest
import small

import sparsefed as sf
from sparsefed.core.members import family_members, is_own
from sparsefed.defenses import Defense, NoMasking

EVERY: list[Defense] = [
    sf.Mean(momentum=0.9),
    sf.GaussianNoise(sigma=0.05, momentum=0.9),
    sf.LiteralNoise(sigma=0.001, momentum=0.9),
    sf.TrimmedMean(f=2, momentum=0.9),
    sf.Median(momentum=0.9),
    sf.Krum(f=2, momentum=0.9),
    sf.PaperKrum(f=2),
    sf.MultiKrum(f=2, m=5),
    sf.Bulyan(f=2, momentum=0.9),
    sf.PaperBulyan(f=2),
    sf.SparseFed(k=50, momentum=0.9, masking=NoMasking(), lr_in_error=True),
    sf.AutoSparseFed(max_loss=0.5, momentum=0.9),
    sf.FetchSGD(k=50, rows=3, columns=400, momentum=0.9),
    sf.PaperFetchSGD(k=50, rows=3, columns=400),
    sf.RFA(momentum=0.9),
    sf.CenteredClipping(radius=0.3, momentum=0.9),
    sf.MeanAroundMedian(f=2),
    sf.RLR(threshold=2, momentum=0.9),
    sf.SignMajority(),
    sf.DnC(f=2, momentum=0.9),
    sf.MDA(f=2),
    sf.MoNNA(f=2),
    sf.FLTrust(examples=50, momentum=0.5),
    sf.FoolsGold(clients=100, momentum=0.9),
    sf.LASA(),
    sf.FLAME(momentum=0.9),
    sf.CRFL(norm=30.0),
    sf.Bucketing(rule=sf.Krum(f=1), size=2),
    sf.NNM(rule=sf.TrimmedMean(f=2, momentum=0.9), f=2),
    sf.ARC(rule=sf.SparseFed(k=50, momentum=0.9), f=2),
]
every_defense = pytest.mark.parametrize("rule", EVERY, ids=lambda rule: type(rule).__name__)


def test_every_rule_of_the_package_is_here() -> None:
    assert {type(rule) for rule in EVERY} == {rule for rule in family_members(Defense) if not is_own(rule)}


def spec_of(rule: Defense, **changes: object) -> sf.Experiment:
    parts: dict[str, object] = {"defense": rule, "rounds": 8, "cohort": 12, "attack": small.attack()}
    return small.experiment(**{**parts, **changes})


@every_defense
def test_a_spec_names_the_defense_and_gives_it_back(rule: Defense) -> None:
    written = spec_of(rule).to_dict()
    assert written["defense"]["type"] == type(rule).__name__
    assert sf.Experiment(**written) == spec_of(rule)
    assert eval(repr(rule), vars(sf) | {"NoMasking": NoMasking}) == rule


@every_defense
def test_a_run_records_what_the_defense_did(rule: Defense) -> None:
    rows = list(sf.play(spec_of(rule)))
    assert len(rows) == 8
    for row in rows:
        assert row["kept"] + row["dropped"] == pytest.approx(12)
        assert 0 <= row["compromised_kept"] <= row["kept"] + 1e-9
        assert row["support"] > 0
    assert any(row["compromised"] > 0 for row in rows)


@every_defense
def test_a_run_that_was_stopped_ends_bit_for_bit_as_if_never_stopped(rule: Defense, tmp_path: Path) -> None:
    assert_resumes(spec_of(rule), tmp_path)


def assert_resumes(spec: sf.Experiment, folder: Path) -> None:
    """A run that is stopped after three rounds and resumed ends with the bytes of one that is not."""
    sf.simulate(spec, folder / "whole")
    rows = sf.play(spec, folder / "stopped")
    for _ in range(3):
        next(rows)
    rows.close()
    sf.simulate(spec, folder / "stopped")
    whole, stopped = (
        (folder / name / spec.digest() / "state.safetensors").read_bytes() for name in ("whole", "stopped")
    )
    assert whole == stopped


def test_the_server_s_own_examples_are_drawn_by_the_seed_and_seen_as_one_more_client() -> None:
    fed = sf.Federation.of(spec_of(sf.FLTrust(examples=50)))
    again = sf.Federation.of(spec_of(sf.FLTrust(examples=50)))
    data = fed.server_data
    assert data is not None
    assert data.clients.tolist() == [100]
    assert data.sizes.tolist() == [50]
    assert len(data.labels.unique()) > 5
    assert again.server_data is not None
    assert (again.server_data.inputs == data.inputs).all()
    assert sf.Federation.of(spec_of(sf.Mean())).server_data is None
    with pytest.raises(sf.SpecError, match="expected at least 9999 training examples, found"):
        sf.Federation.of(spec_of(sf.FLTrust(examples=9999))).server_data  # noqa: B018


def test_clipping_can_be_off() -> None:
    for rule in (sf.TrimmedMean(f=2), sf.Krum(f=2), sf.Bulyan(f=2), sf.Median()):
        honest = sf.simulate(spec_of(rule, clip=sf.Unclipped(), attack=None))
        assert honest["outcome"] in {"trained", "no better than guessing"}


def test_a_cohort_too_small_for_the_rule_is_one_clear_line() -> None:
    with pytest.raises(sf.UpdateError, match=r"Bulyan\(f=3\): expected at least 15 updates, found 12"):
        sf.simulate(spec_of(sf.Bulyan(f=3)))

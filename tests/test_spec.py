"""Specs: validated, immutable, readable back, and clear when wrong."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import small

import sparsefed as sf
from sparsefed.defenses import Defense
from sparsefed.federation.experiment import read_experiment
from sparsefed.protocol.schedules import Schedule

TEXT = """
seed = 7
rounds = 30
cohort = 5
data = { type = "Digits" }
partition = { type = "OneClass", clients = 50 }
model = { type = "Linear" }
schedule = { type = "Constant", value = 0.1 }
clip = { type = "FixedClip", norm = 5.0 }

[defense]
type = "SparseFed"
k = 10
momentum = 0.9

[attack]
objective = { type = "Targeted", points = 10 }
presence = { type = "Pool", fraction = 0.1 }
method = { type = "PGD" }
"""


class Own(Schedule):
    """A schedule of the user's own."""

    def lr(self, round: int, rounds: int) -> float:
        return 0.5


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "spec.toml"
    path.write_text(TEXT)
    return path


def test_a_spec_reads_back_from_its_own_data():
    spec = small.experiment(attack=small.attack())
    assert sf.Experiment(**spec.to_dict()) == spec
    assert sf.Experiment(**spec.to_dict()).digest() == spec.digest()


def test_every_field_counts_in_the_digest():
    spec = small.experiment()
    assert spec.digest() != spec.but(seed=4).digest()
    assert spec.digest() != spec.but(defense=sf.SparseFed(k=51, momentum=0.9)).digest()


def test_a_digest_does_not_depend_on_how_the_spec_was_written(file: Path):
    written = read_experiment(file)
    built = sf.Experiment(**{**written.to_dict(), "defense": sf.SparseFed(momentum=0.9, k=10)})
    assert written.digest() == built.digest()


def test_a_type_of_the_users_own_is_named_by_its_module():
    spec = small.experiment(schedule={"type": "test_spec:Own"})
    assert spec.schedule.lr(1, 1) == 0.5
    assert sf.Experiment(**spec.to_dict()).digest() == spec.digest()


def test_set_changes_a_key_before_validation(file: Path):
    changed = read_experiment(
        file, ["defense.k=12", "schedule.type=Triangular", "schedule={type='Constant', value=1}"]
    )
    assert changed.defense == sf.SparseFed(k=12, momentum=0.9)
    assert changed.schedule == sf.Constant(value=1)


def test_specs_cannot_be_changed():
    with pytest.raises(Exception, match="frozen"):
        small.experiment().seed = 1  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("defense.q=1", "`defense.q`: unknown key"),
        ("color=1", "`color`: unknown key"),
        ("defense.k=0", "`defense.k`: Input should be greater than 0, found 0"),
        ("defense.momentum=1.5", "`defense.momentum`: Input should be less than 1, found 1.5"),
        ("defense.type=Magic", "`defense`: unknown Defense `Magic`: need one of"),
        ("defense.type=nowhere:Rule", "`defense`: cannot load `nowhere:Rule`"),
        ("defense.type=small:experiment", "is not a Defense"),
        ("rounds=many", "`rounds`: Input should be a valid integer"),
        ("rounds=true", "`rounds`: Input should be a number, written as such, found True"),
        ("rounds='3'", "`rounds`: Input should be a number, written as such, found '3'"),
        ("defense.momentum='0.5'", "`defense.momentum`: Input should be a number, written as such"),
        ("evaluate_every=true", "`evaluate_every`: Input should be a number, written as such, found True"),
        ("model={type='MLP', hidden=['3']}", "`model.hidden`: Input should be a number, written as such"),
        ("twin=no", "`twin`: Input should be true or false, found 'no'"),
        ("twin=1", "`twin`: Input should be true or false, found 1"),
        ("self=1", "`self`: unknown key"),
        ("model.self=1", "`model.self`: unknown key"),
        ("attack.presence.clients=3", "needs either `fraction` or `clients`, found both"),
        ("attack.presence.fraction=2", "`attack.presence.fraction`: Input should be less than 1, found 2"),
        ("seed", "needs the form key.path=value"),
        ("seed.deep=1", "`seed` holds a value, not keys"),
        ("device=tpu", "`device`"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_what_was_found_and_needed(
    file: Path, change: str, complaint: str
):
    with pytest.raises(sf.SpecError) as caught:
        read_experiment(file, [change])
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named():
    with pytest.raises(sf.SpecError, match="`cohort`: missing key"):
        sf.Experiment(rounds=1)


def test_a_family_needs_a_type():
    with pytest.raises(sf.SpecError, match=r"`defense`: needs a key `type`: one of .*SparseFed"):
        small.experiment(defense={"k": 3})


def test_a_file_that_is_not_there_or_not_toml_is_named(tmp_path: Path):
    with pytest.raises(sf.SpecError, match=r"none\.toml: no such file"):
        read_experiment(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("seed = = 1")
    with pytest.raises(sf.SpecError, match=r"bad\.toml: not TOML"):
        read_experiment(tmp_path / "bad.toml")


def test_the_triangle_rises_to_its_peak_and_falls():
    triangle = sf.Triangular(peak=0.2, pivot=0.25)
    values = [triangle.lr(t, 1000) for t in range(1, 1001)]
    assert max(values) == pytest.approx(0.2, rel=0.01)
    assert values.index(max(values)) in (249, 250)
    assert 0 < values[0] < 0.001
    assert 0 < values[-1] < 0.001
    assert sum(values) == pytest.approx(0.1 * 1000, rel=1e-3)


def test_every_field_of_every_spec_says_what_it_means():
    from sparsefed.core.spec import family_members
    from sparsefed.report.catalog import FAMILIES

    silent = [
        f"{member.__name__}.{name}"
        for family in (*FAMILIES.values(), Defense)
        for member in family_members(family)
        if member.__module__.startswith("sparsefed.")
        for name, field in member.model_fields.items()
        if not field.description
    ]
    assert silent == []


def test_numbers_of_other_types_are_numbers():
    spec = small.experiment(rounds=np.int64(20), twin=np.True_, model={"type": "MLP", "hidden": [16.0]})
    assert spec == small.experiment(twin=True)
    assert spec.digest() == small.experiment(twin=True).digest()


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("def f(:", "SyntaxError: invalid syntax"),
        ("nothing", "NameError: name 'nothing' is not defined"),
        ("open('/no/such/file')", "FileNotFoundError"),
        ("raise RuntimeError('one\\ntwo')", "RuntimeError: one two"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, complaint: str
):
    (tmp_path / "broken_module.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        sf.SpecError, match=f"`defense`: cannot load `broken_module:Rule`: {complaint}"
    ) as caught:
        small.experiment(defense={"type": "broken_module:Rule"})
    assert "\n" not in str(caught.value)


def test_a_complaint_survives_the_way_from_another_process():
    with pytest.raises(sf.SpecError) as caught:
        sf.SparseFed(k=0)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(copy, sf.SpecError)
    assert str(copy) == str(caught.value)

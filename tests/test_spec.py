"""Specs: validated, immutable, readable back, and clear when wrong."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import small

import sparsefed as sf
from sparsefed.data import Dirichlet
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


class Unfinished(sf.Aggregate):
    """A defense that does not aggregate."""


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
        file, ["defense.k=12", "schedule.peak=3", "schedule={type='Constant', value=1}"]
    )
    assert changed.defense == sf.SparseFed(k=12, momentum=0.9)
    assert changed.schedule == sf.Constant(value=1)


def test_a_spec_cannot_be_changed():
    with pytest.raises(sf.SpecError, match=r"cannot be changed; `\.but\(seed=…\)` gives a changed copy"):
        small.experiment().seed = 1  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("defense.q=1", "`defense.q`: unknown key; SparseFed has k, momentum, masking"),
        (
            "partition.client=9",
            "`partition.client`: unknown key; did you mean `clients`? OneClass has clients",
        ),
        ("defense.K=9", "`defense.K`: unknown key; did you mean `k`? SparseFed has k"),
        ("zzz=1", "`zzz`: unknown key; Experiment has seed, rounds"),
        ("self=1", "`self`: unknown key"),
        ("clip={type='Unclipped', self=1}", "`clip.self`: unknown key; Unclipped has no keys"),
        ("defense.k=0", "`defense.k`: expected a whole number of at least 1, found 0"),
        (
            "defense.momentum=1.5",
            "`defense.momentum`: expected a number of at least 0 and below 1, found 1.5",
        ),
        (
            "defense.momentum='0.5'",
            "`defense.momentum`: expected a number of at least 0 and below 1, found '0.5'",
        ),
        ("clip.norm=inf", "`clip.norm`: expected a number above 0, found inf, which is not finite"),
        ("rounds=many", "`rounds`: expected a whole number of at least 1, found 'many'"),
        ("rounds=true", "`rounds`: expected a whole number of at least 1, found True"),
        ("rounds='3'", "`rounds`: expected a whole number of at least 1, found '3'"),
        ("rounds=[1]", "`rounds`: expected a whole number of at least 1, found [1]"),
        ("evaluate_every=true", "`evaluate_every`: expected a whole number of at least 1, found True"),
        ("model={type='MLP', hidden=['3']}", "`model.hidden`: expected a list, each item a whole number"),
        (
            "model={type='MLP', hidden=[3, 0]}",
            "`model.hidden.1`: expected a whole number of at least 1, found 0",
        ),
        ("model={type='MLP', hidden=3}", "`model.hidden`: expected a list, each item a whole number of at"),
        ("data={type='Npz', path=3}", "`data.path`: expected a path, found 3"),
        ("twin=no", "`twin`: expected true or false, found 'no'"),
        ("twin=1", "`twin`: expected true or false, found 1"),
        ("precision=half", "`precision`: expected `float32` or `tf32` or `float64`, found 'half'"),
        ("device=tpu", "`device`: expected `cpu`, `cuda` or `cuda:N`, found 'tpu'"),
        ("seed.deep=1", "`seed`: expected a whole number of at least 0, found a table with deep"),
        ("attack=5", "`attack`: expected a table with objective, presence, method, found 5"),
        (
            "attack.without=['presence']",
            "`attack.presence`: missing key; expected a table with a `type`",
        ),
        (
            "attack.presence.clients=3",
            "`attack.presence`: expected either `fraction` or `clients`, found both",
        ),
        (
            "attack.presence.fraction=2",
            "`attack.presence.fraction`: expected a number above 0 and below 1, found 2",
        ),
        ("data=DIGITS", "expected a table with a `type`: CIFAR10, "),
        ("data=DIGITS", "found 'DIGITS'; did you mean { type = \"Digits\" }?"),
        ("clip.without=['type']", "`clip.type`: missing key; expected one of AdaptiveClip"),
        ("clip={typ='FixedClip', norm=3}", "`clip.typ`: unknown key; did you mean `type`?"),
        ("defense.type=Magic", "`defense.type`: unknown Defense `Magic`; expected one of ARC"),
        (
            "defense.type=SparsFed",
            "`defense.type`: unknown Defense `SparsFed`; did you mean `SparseFed`? expected",
        ),
        ("defense.type=FixedClip", "`defense.type`: unknown Defense `FixedClip`, which is a Clip"),
        ("defense.type=mine.Rule", "`defense.type`: unknown Defense `mine.Rule`; did you mean `mine:Rule`?"),
        ("defense.type=3", "`defense.type`: expected a name, one of ARC"),
        (
            "defense.type=nowhere:Rule",
            "`defense.type`: cannot load `nowhere:Rule`: expected a module `nowhere`, found none; ",
        ),
        (
            "defense.type=small:experimentz",
            "expected `experimentz` in `small`, found none; did you mean",
        ),
        ("defense.type=small:experiment", "expected a class that extends `Defense`, found the function"),
        ("defense.type=test_spec:Own", "expected a class that extends `Defense`, found the class"),
        (
            "defense.type=test_spec:Unfinished",
            "`test_spec:Unfinished` is not complete; expected it to define aggregate",
        ),
        ("seed", "--set seed: expected the form key.path=value"),
        ("without=['attak']", "`without`: expected a list of keys out of seed, rounds"),
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
    with pytest.raises(sf.SpecError, match="`cohort`: missing key; expected a whole number of at least 1"):
        sf.Experiment(rounds=1)


def test_a_family_needs_a_type():
    with pytest.raises(sf.SpecError, match=r"`defense.type`: missing key; expected one of .*SparseFed"):
        small.experiment(defense={"k": 3})


def test_what_is_no_spec_is_refused_with_what_it_is():
    with pytest.raises(sf.SpecError, match=r"`defense`: expected .*, found FixedClip\(norm=1.0\)"):
        small.experiment(defense=sf.FixedClip(norm=1.0))
    with pytest.raises(sf.SpecError, match="`defense`: expected keys that are text, found 3"):
        small.experiment(defense={3: 4})


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"seed = 1\nrounds = = 1", "line 2: expected TOML, found `rounds = = 1` (invalid value)"),
        (b"seed = 1\nrounds = ", "expected TOML, found the end of the file (invalid value)"),
        (b"[a]\nx = 1\n[a]", "line 3: expected TOML, found `[a]` (cannot declare ('a',) twice)"),
        (
            "a = 1\nb = 'ä'".encode("latin-1"),
            "expected text in UTF-8, found byte 0xe4 in line 2; save it as UTF-8",
        ),
        ("a = 1".encode("utf-16-le"), "expected text in UTF-8, found zero bytes; save it as UTF-8"),
        (b"a = " + b"[" * 5000, "expected TOML, found a number or a nesting beyond all measure"),
    ],
)
def test_what_is_not_toml_is_named_with_its_line(tmp_path: Path, content: bytes, complaint: str):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(sf.SpecError) as caught:
        read_experiment(path)
    assert str(caught.value) == f"{path}: {complaint}"


def test_a_file_that_is_not_there_is_named_with_the_nearest(tmp_path: Path, file: Path):
    with pytest.raises(sf.SpecError, match=r"spek\.toml: no such file; .* did you mean `spec.toml`\?"):
        read_experiment(tmp_path / "spek.toml")
    with pytest.raises(sf.SpecError, match="expected an experiment in TOML, found a folder"):
        read_experiment(tmp_path)


def test_a_byte_order_mark_is_no_part_of_the_file(file: Path):
    read = read_experiment(file)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert read_experiment(file) == read


def test_changes_are_merged_as_in_tables_in_any_order(file: Path):
    changes = ["partition.alpha=0.5", "partition.clients=9", "partition.type=Dirichlet", "defense.type=Mean"]
    for order in (changes, changes[::-1]):
        changed = read_experiment(file, order)
        assert changed.partition == Dirichlet(alpha=0.5, clients=9)
        assert changed.defense == sf.Mean()
    assert read_experiment(file, ['without=["attack"]']).attack is None


def test_the_triangle_rises_to_its_peak_and_falls():
    triangle = sf.Triangular(peak=0.2, pivot=0.25)
    values = [triangle.lr(t, 1000) for t in range(1, 1001)]
    assert max(values) == pytest.approx(0.2, rel=0.01)
    assert values.index(max(values)) in (249, 250)
    assert 0 < values[0] < 0.001
    assert 0 < values[-1] < 0.001
    assert sum(values) == pytest.approx(0.1 * 1000, rel=1e-3)


def test_every_field_of_every_spec_says_what_it_means():
    from sparsefed.report.catalog import choices

    silent = [
        f"{spec.__name__}.{name}"
        for spec in choices().values()
        for name, field in spec.model_fields.items()
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
        ("def f(:", "SyntaxError in broken_module.py, line 1: invalid syntax"),
        ("nothing", "NameError in broken_module.py, line 1: name 'nothing' is not defined"),
        ("open('/no/such/file')", "FileNotFoundError"),
        ("raise RuntimeError('one\\ntwo')", "RuntimeError in broken_module.py, line 1: one two"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, complaint: str
):
    (tmp_path / "broken_module.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        sf.SpecError, match=f"`defense.type`: cannot load `broken_module:Rule`: {complaint}"
    ) as caught:
        small.experiment(defense={"type": "broken_module:Rule"})
    assert "\n" not in str(caught.value)


def test_a_complaint_survives_the_way_from_another_process():
    with pytest.raises(sf.SpecError) as caught:
        sf.SparseFed(k=0)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(copy, sf.SpecError)
    assert str(copy) == str(caught.value)


def test_keys_without_names_are_refused_in_one_line() -> None:
    with pytest.raises(sf.SpecError, match=r"^SparseFed: expected keys by name, such as k=5$"):
        sf.SparseFed(5)

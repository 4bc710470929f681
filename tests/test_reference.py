"""What keys mean is written once, in the docstrings, and is seen wherever one looks."""

import inspect
import pydoc
from pathlib import Path

import pytest

import sparsefed as sf
from sparsefed.attacks import Independent
from sparsefed.cli.reference import reference
from sparsefed.core.keys import KEYS, keys
from sparsefed.data import Npz
from sparsefed.models import MLP, Custom
from sparsefed.report.catalog import choices, listing

ROOT = Path(__file__).parents[1]


def build(input_shape: tuple[int, ...], classes: int) -> None:
    """No model, but called like one."""


def test_the_reference_page_is_current():
    assert (ROOT / "docs" / "reference.md").read_text() == reference(), "run `make reference`"


def test_help_begins_with_what_the_rule_does_and_what_each_key_means():
    text = pydoc.render_doc(sf.SparseFed, renderer=pydoc.plaintext)
    head, _, _ = text.partition("Method resolution order")
    for key in keys(sf.SparseFed):
        assert f"{key.key} : {key.type}" in head
        assert key.meaning[:40] in head
    assert "FieldInfo" not in text
    assert "model_" not in text
    assert len(text.splitlines()) < 130


@pytest.mark.parametrize("spec", choices().values(), ids=lambda spec: spec.__name__)
def test_every_class_shows_its_keys_and_their_defaults(spec: type):
    text = inspect.getdoc(spec) or ""
    assert text.strip()
    assert all(f"{key.key} : " in text.partition(KEYS)[2] for key in keys(spec))
    assert not any("Undefined" in key.default or "(" in key.default for key in keys(spec))
    assert "Annotated" not in str(inspect.signature(spec))


def test_a_list_of_attacks_has_three_headings_and_each_member_once():
    groups = listing("attacks")
    assert [group.title for group in groups] == ["objectives", "presences", "methods"]
    for group in groups:
        names = [row["name"] for row in group.rows]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", ["defenses", "Defense", "defense", "maskings", "data", "clients", "anchors"])
def test_a_family_is_known_by_its_name_and_its_plural(name: str):
    (group,) = listing(name)
    assert all(row["meaning"] for row in group.rows)


@pytest.mark.parametrize(
    "name", ["SparseFed", "sparsefed", "experiment", "table", "attack", "ZeroMasking", "PGD"]
)
def test_a_member_is_listed_with_its_keys(name: str):
    (group,) = listing(name)
    assert all(set(row) == {"key", "type", "default", "meaning"} for row in group.rows)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(sf.SpecError, match=r"list SparsFed: unknown name; did you mean `SparseFed`\?"):
        listing("SparsFed")
    with pytest.raises(sf.SpecError, match="did you mean `defenses`"):
        listing("defences")  # codespell:ignore


def test_a_part_prints_with_all_that_counts_and_nothing_that_does_not():
    assert str(MLP()) == "MLP(hidden=(200, 200))"
    assert repr(Npz(path="a.npz")) == "Npz(path='a.npz')"
    assert str(sf.SparseFed(k=2)).startswith("SparseFed(k=2, momentum=0.0, masking=ZeroMasking()")
    assert repr(Independent(method=sf.PGD())) == "Independent(method=PGD())"
    assert str(Custom(function="test_reference:build")) == "Custom(function='test_reference:build')"

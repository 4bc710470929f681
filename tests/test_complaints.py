"""However a specification is broken, one line names the broken key, in words that are not the library's."""

import re
from copy import deepcopy
from typing import Any

import pytest
import small
from hypothesis import given, strategies as st

import sparsefed as sf
from sparsefed.attacks import AlternatingMinimization, FixedPerRound, Independent, SemanticBackdoor
from sparsefed.core.errors import bare
from sparsefed.data import Dirichlet, Npz

FOREIGN = re.compile(
    r"pydantic|validat|Input|instance of|\[type|dictionary|should (be|have|match)|\bparse|"
    r"\b(dict|str|int|float|bool|NoneType)\b"
)
"""Words of the libraries underneath."""

WHOLES = [
    small.experiment(attack=small.attack(), twin=True).to_dict(),
    small.experiment(
        data=Npz(path="x.npz"),
        partition=Dirichlet(clients=9, alpha=0.5),
        clip=sf.QuantileClip(),
        clients=sf.FedAvg(),
        defense=sf.Bulyan(f=1),
        attack=small.attack(
            objective=SemanticBackdoor(source=1, target=2),
            presence=FixedPerRound(count=2),
            method=Independent(method=AlternatingMinimization()),
        ),
    ).to_dict(),
]
SCRAP = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10**30),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
    st.dictionaries(st.integers(), st.integers(), max_size=2),
    st.binary(max_size=3),
)


def places(tree: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every key of nested tables, as the path to it."""
    found = []
    for key, value in tree.items():
        found += [(*path, key), *(places(value, (*path, key)) if isinstance(value, dict) else [])]
    return found


def broken(draw: st.DataObject) -> tuple[dict[str, Any], set[str]]:
    """An experiment with one key changed: the tree, and the names of which a complaint should name one.

    Besides the key these are its new name and its part, for keys that make no sense together.
    """
    tree = deepcopy(draw.draw(st.sampled_from(WHOLES)))
    *parents, key = draw.draw(st.sampled_from(places(tree)))
    part = tree
    for parent in parents:
        part = part[parent]
    how = draw.draw(st.sampled_from(["drop", "rename", "retype"]))
    if how == "rename":
        name = draw.draw(
            st.one_of(
                st.just(f"{key}s"),
                st.just(key[:-1]),
                st.text(max_size=6).filter(lambda name: name not in part),
            )
        )
        part[name] = part.pop(key)
        return tree, {key, name, *parents[-1:]}
    if how == "drop":
        del part[key]
    else:
        part[key] = draw.draw(SCRAP)
    return tree, {key, *parents[-1:]}


def complaint(tree: dict[str, Any]) -> str:
    """What is said about a tree; nothing where it is an experiment all the same."""
    try:
        sf.Experiment(**tree)
    except sf.SpecError as problem:
        return str(problem)
    return ""


@given(st.data())
def test_whatever_breaks_an_experiment_is_named_on_one_line_in_our_words(draw: st.DataObject):
    tree, keys = broken(draw)
    line = complaint(tree)
    named, _, _ = line.partition(", found ")
    assert len(line.splitlines()) <= 1
    assert not line or any(bare(key) in named for key in keys), line
    assert not FOREIGN.search(named), line


@pytest.mark.parametrize("tree", WHOLES, ids=["targeted", "semantic"])
def test_every_misspelt_key_is_named_as_misspelt(tree: dict[str, Any]):
    for *parents, key in places(tree):
        wrong = part = deepcopy(tree)
        for parent in parents:
            part = part[parent]
        part[f"{key}s"] = part.pop(key)
        with pytest.raises(sf.SpecError) as caught:
            sf.Experiment(**wrong)
        path = ".".join([*parents, f"{key}s"])
        assert f"`{path}`: unknown key; did you mean `{key}`?" in str(caught.value)


def test_errors_are_shown_by_the_name_they_are_imported_by():
    for name in ("SpecError", "DataError", "RunError", "UpdateError", "SparseFedError"):
        assert f"{getattr(sf, name).__module__}.{name}" == f"sparsefed.{name}"

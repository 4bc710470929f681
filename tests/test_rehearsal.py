"""Mistakes in parts of the user's own are found when a table is read, those of a miniature are not."""

from pathlib import Path

import pytest

import sparsefed as sf
from sparsefed.runs.tables import read_table

TABLE = """
title = "mine"
[base]
rounds = 3
cohort = 5
data = { type = "Digits" }
partition = { type = "OneClass", clients = 50 }
model = { type = "Linear" }
schedule = { type = "Constant", value = 0.1 }
defense = { type = "Mean" }
attack.objective = { type = "Targeted", points = 10 }
attack.presence = { type = "Pool", fraction = 0.1 }
attack.method = { type = "PGD" }
[rows.usual]
[rows.mine]
"""
METHOD = """
import sparsefed as sf
class Mine(sf.Colluding):
    def vector(self, view, generator):
        return {}
"""
RULE = """
import torch
import sparsefed as sf
class Mine(sf.Aggregate):
    def aggregate(self, updates):
        return {}
"""


def read(folder: Path, code: str, changes: str) -> None:
    (folder / "own_parts.py").write_text(code)
    (folder / "t.toml").write_text(TABLE + changes)
    read_table(folder / "t.toml")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "own_parts", raising=False)


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("-view.honest_mean", "must say so in `needs`"),
        ("-view.honest.mean()", "own_parts.py, line 5: AttributeError: .* None unless `needs` declares them"),
        ("view.server.memory", "own_parts.py, line 5: AttributeError"),
        ("torch.zeros(3)", "own_parts.py, line 5: NameError: name 'torch' is not defined"),
    ],
)
def test_a_mistake_in_an_attack_is_found_before_anything_runs(
    tmp_path: Path, expression: str, complaint: str
):
    with pytest.raises(sf.SpecError, match=f"t.toml: row `mine`: .*{complaint}"):
        read(tmp_path, METHOD.format(expression), "attack.method = { type = 'own_parts:Mine' }")


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("torch.zeros(3)", r"expected an aggregate of shape \[170\], found shape \[3\]"),
        ("updates.mean().mean()", r"expected an aggregate of shape \[170\], found shape \[\]"),
        ("None", r"expected an aggregate of shape \[170\], found a NoneType"),
        ("updates.median()", "AttributeError: .*has no attribute 'median'"),
    ],
)
def test_a_mistake_in_a_defense_is_found_before_anything_runs(
    tmp_path: Path, expression: str, complaint: str
):
    with pytest.raises(sf.SpecError, match=f"t.toml: row `mine`: .*{complaint}"):
        read(tmp_path, RULE.format(expression), "defense = { type = 'own_parts:Mine' }")


@pytest.mark.parametrize("expression", ["updates.mean()", "updates.mean().view(9, 9).view(-1)"])
def test_what_only_a_miniature_lacks_is_not_refused(tmp_path: Path, expression: str):
    read(tmp_path, RULE.format(expression), "defense = { type = 'own_parts:Mine' }")


def test_a_rule_that_needs_a_larger_model_is_not_refused(tmp_path: Path):
    code = "import sparsefed as sf\nclass Mine(sf.SparseFed):\n    pass\n"
    read(tmp_path, code, "defense = { type = 'own_parts:Mine', k = 600 }")

"""Mistakes in parts of the user's own are found when a table is read, those of a miniature are not."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import sparsefed as sf
from sparsefed.federation.checks import RejectedUploads
from sparsefed.federation.rehearsal import IdleAttack
from sparsefed.runs.tables import read_table

Command = Callable[..., tuple[int, str, str]]
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


def written(folder: Path, code: str) -> Path:
    """An experiment with an attack of `code`."""
    (folder / "own_parts.py").write_text(code)
    text = TABLE.replace('"PGD"', '"own_parts:Mine"')
    lines = text.replace('"Pool", fraction = 0.1', '"FixedPerRound", count = 1').splitlines()
    (folder / "e.toml").write_text("\n".join(line for line in lines if not line.startswith(("title", "["))))
    return folder / "e.toml"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "own_parts", raising=False)


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        (
            "-view.honest_mean",
            "`needs`: expected `needs = sf.Grant.HONEST_UPDATES` in the class to read",
        ),
        ("-view.honest.mean()", "AttributeError in own_parts.py, line 5: .* unless `needs` declares them"),
        ("view.server.memory", "AttributeError in own_parts.py, line 5"),
        ("torch.zeros(3)", "NameError in own_parts.py, line 5: name 'torch' is not defined"),
    ],
)
def test_a_mistake_in_an_attack_is_found_before_anything_runs(
    tmp_path: Path, expression: str, complaint: str
):
    with pytest.raises(sf.SpecError, match=f"t.toml: row `mine`: .*{complaint}"):
        read(tmp_path, METHOD.format(expression), "attack.method = { type = 'own_parts:Mine' }")


SENDER = """
import numpy as np
import torch
import sparsefed as sf
class Mine(sf.Method):
    def craft(self, view, generator):
        n, d = view.uploads, len(view.params)
        return {}
"""


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("torch.ones(n, d + 1)", r"found float32 of shape \[2, 171\]"),
        ("torch.ones(d)", r"found float32 of shape \[170\]"),
        ("torch.ones(d, n)", r"found float32 of shape \[170, 2\]|one upload for each"),
        ("torch.ones(n, d, dtype=torch.complex64)", r"found complex64 of shape \[2, 170\]"),
        ("np.full((n, d), None)", r"found object of shape \[2, 170\]"),
        ("[[1.0] * d] * n", "found a list"),
        ("None", "found nothing"),
    ],
)
def test_an_attack_whose_uploads_no_server_lets_in_is_found_before_anything_runs(
    tmp_path: Path, command: Command, expression: str, found: str
):
    with pytest.raises(sf.SpecError, match=rf"t.toml: row `mine`: Mine\(\): expected .*{found}"):
        read(tmp_path, SENDER.format(expression), "attack.method = { type = 'own_parts:Mine' }")
    file = written(tmp_path, SENDER.format(expression))
    code, _, said = command("run", str(file), "--runs", str(tmp_path / "runs"))
    assert code == 2
    assert re.search(rf"e.toml: Mine\(\): expected .*{found}", said)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("expression", "kind", "found"),
    [
        ("torch.zeros(n, d)", IdleAttack, "expected an attack, found 2 uploads of zeros"),
        ("np.zeros((n, d))", IdleAttack, "expected an attack, found 2 uploads of zeros"),
        ("torch.full((n, d), torch.nan)", RejectedUploads, "found none that is finite: the server rejects"),
    ],
)
@pytest.mark.filterwarnings("ignore::sparsefed.federation.checks.RejectedUploads")
def test_an_attack_that_does_nothing_is_named_and_runs(
    tmp_path: Path, expression: str, kind: type[Warning], found: str
):
    with pytest.warns(kind, match=rf"Mine\(\): .*{found}"):
        read(tmp_path, SENDER.format(expression), "attack.method = { type = 'own_parts:Mine' }")
    result = sf.simulate(sf.read_experiment(written(tmp_path, SENDER.format(expression))))
    assert re.match(r"none: all \d+ uploads of the attackers were rejected or zero", result["attack"])
    assert (result["attackers_rejected"] > 0) == (kind is RejectedUploads)


LATE = """
import torch
import sparsefed as sf
class Mine(sf.Method):
    def craft(self, view, generator):
        return torch.full((view.uploads, len(view.params)), torch.inf if view.round > 1 else 1.0)
"""


def test_rejected_uploads_of_a_later_round_are_named_once_and_counted(tmp_path: Path):
    own = sf.read_experiment(written(tmp_path, LATE))
    with pytest.warns(RejectedUploads, match="found none that is finite: the server rejects them") as told:
        result = sf.simulate(own)
    assert len({str(each.message) for each in told}) == 1
    assert result["attackers_rejected"] == result["rejected"] > 0
    assert "attack" not in result


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("torch.zeros(3)", r"expected an aggregate of shape \[170\], found shape \[3\]"),
        ("updates.mean().mean()", r"expected an aggregate of shape \[170\], found shape \[\]"),
        ("None", r"expected an aggregate of shape \[170\], found nothing"),
        ("updates.median()", "AttributeError in own_parts.py, line 6: .*has no attribute 'median'"),
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

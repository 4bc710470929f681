"""`sparsefed certify` of votes, as a person runs it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from sparsefed.certify.votes.report import withstood_by_half

ROOT = Path(__file__).parents[2]
PLAN = """
[base]
rounds = 3
cohort = 30
data = { type = "Digits" }
partition = { type = "IID", clients = 30 }
model = { type = "Linear", zeros = true }
schedule = { type = "Constant", value = 1.0 }
defense = { type = "Mean" }
[certificates.A]
by = { type = "Votes", groups = { type = "Hashed", groups = 5 } }
[certificates.B]
by = { type = "Votes", groups = { type = "Hashed", groups = 10 }, trainer = { type = "Ridge" } }
"""


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Any) -> Any:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.toml").write_text(PLAN)

    return command


def test_a_plan_prints_curves_that_start_at_the_accuracy_and_fall(call: Any):
    code, out, _ = call("certify", "plan.toml", "--json", "--plot", "p.png", "--out", "points.csv")
    found = json.loads(out)
    assert code == 0
    assert found["clients"] == 30
    assert list(found["certified"]) == ["A", "B"]
    for name, curve in found["certified"].items():
        values = list(curve.values())
        assert values == sorted(values, reverse=True)
        assert values[0] == found["certificates"][name]["test_accuracy"] <= found["test_accuracy"]
        assert values[-1] == 0
    assert found["certificates"]["B"]["models"] == 10
    assert Path("p.png").stat().st_size > 1000
    lines = Path("points.csv").read_text().splitlines()
    assert lines[0] == "certificate,seed,point,label,prediction,survived"
    assert len(lines) == 1 + 2 * found["test_points"]


def test_an_experiment_of_any_model_is_certified_by_groups_and_says_the_price(call: Any):
    spec = str(ROOT / "examples" / "digits.toml")
    code, out, _ = call("certify", spec, "--groups", "4", "--groups", "6", "--set", "rounds=2")
    assert code == 0
    assert "a single model of all clients has" in out
    assert "6 models" in " ".join(out.split())
    assert list(Path("runs/votes").glob("votes-*.npz"))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            ("plan.toml", "--groups", "31"),
            "certificate `31 groups`: Hashed(groups=31): expected at most",
        ),
        (("plan.toml", "--groups", "0"), "--groups: expected a whole number of at least 1, found 0"),
        (("plan.toml", "--compromised", "3"), "expected an experiment without groups"),
        (("plan.toml", "--set", "rounds=0"), "--set rounds=0: `rounds`: expected a whole number"),
        (("nothing.toml",), "nothing.toml: no such file; expected an experiment or a file of certificates"),
        (("no.toml",), "no.toml: `certificates`: missing key"),
        (("empty.toml",), "empty.toml: `certificates`:"),
        (("typo.toml",), "unknown Grouping `Hashd`"),
    ],
)
def test_what_cannot_be_certified_is_one_line(call: Any, words: tuple[str, ...], complaint: str):
    base = PLAN.partition("[certificates.A]")[0]
    Path("no.toml").write_text(base)
    Path("empty.toml").write_text(base + "[certificates]\n")
    Path("typo.toml").write_text(PLAN.replace("Hashed", "Hashd"))
    code, out, err = call("certify", *words)
    assert (code, out) == (2, "")
    assert complaint in err
    assert len(err.splitlines()) == 1
    assert not Path("runs/votes").exists()


def test_an_experiment_without_a_radius_is_told_of_the_votes(call: Any):
    code, _, err = call("certify", str(ROOT / "examples" / "digits.toml"), "--set", "model={type='MLP'}")
    assert code == 2
    assert "`sparsefed certify FILE --groups 10`" in err


@given(st.lists(st.integers(-1, 9), min_size=1, max_size=20))
def test_the_number_that_half_survives_is_the_largest_that_half_survives(survived: list[int]):
    half = withstood_by_half(np.array(survived))
    assert 2 * sum(m >= half for m in survived) >= len(survived)
    assert 2 * sum(m > half for m in survived) < len(survived)

"""What parts of the user's own return is converted, or refused in one line with nothing left behind."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import small
import torch

import sparsefed as sf
from sparsefed.attacks.base import Method
from sparsefed.protocol.clips import Clip
from sparsefed.runs.record import Record


class Memory(NamedTuple):
    """Of every kind that can be kept, one tensor under two names."""

    mean: Any
    same: Any
    rounds: Any
    share: Any
    nested: Any


class Remembering(sf.Mean):
    """A mean that remembers more than it needs, in a form of the caller's choice."""

    change: str = ""

    def init(self, params: Any, seed: int = 0) -> Any:
        zero = torch.zeros_like(params)
        return Memory(
            zero, zero, 0, np.float32(0.5), {"array": np.zeros(3), "list": [zero[:1]], "none": None}
        )

    def step(self, updates: Any, state: Any, lr: float = 1.0) -> Any:
        delta = lr * updates.mean() * (1 + state.rounds / 100)
        new = state._replace(mean=delta, same=delta, rounds=state.rounds + np.int64(1))
        wrong = {
            "": new,
            "grows": new._replace(mean=torch.cat([delta, delta])),
            "appends": new._replace(nested={**state.nested, "list": [delta[:1], delta[:1]]}),
            "is no number": new._replace(rounds="two"),
            "changes type": new._replace(mean=delta.double()),
            "is none": None,
        }
        if self.change == "in place":
            state.mean.add_(1)
        return delta.numpy(), wrong.get(self.change, new)

    def diagnose(self, *_: Any, **__: Any) -> Any:
        return {"numpy": np.float32(0.5), "tensor": torch.tensor(2.0), "none": None, "truth": np.bool(True)}


def stopped_and_resumed(spec: sf.Experiment, runs: Path) -> dict[str, Any]:
    rows = sf.play(spec, runs)
    for _ in range(3):
        next(rows)
    rows.close()
    return sf.simulate(spec, runs)


def test_a_memory_of_tensors_arrays_and_numbers_is_resumed_as_it_was(tmp_path: Path):
    spec = small.experiment(rounds=6, defense=Remembering(), attack=small.attack(), twin=True)
    whole = sf.simulate(spec, tmp_path / "whole")
    assert stopped_and_resumed(spec, tmp_path / "stopped")["distance_l2"] == whole["distance_l2"]
    states = [
        (tmp_path / runs / spec.digest() / "state.safetensors").read_bytes() for runs in ("whole", "stopped")
    ]
    assert states[0] == states[1]
    row = Record(tmp_path / "whole", spec).rows()[0]
    assert [row[key] for key in ("numpy", "tensor", "none", "truth")] == [0.5, 2.0, None, 1.0]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            "grows",
            r"`memory.mean`: expected the same form in every round, a tensor \[1210\] of float32, found",
        ),
        ("appends", r"`memory.nested.list.1`: expected the same form in every round, none, found a tensor"),
        ("is no number", "`memory.rounds`: expected dense tensors, arrays and numbers, found a str"),
        ("changes type", "found a tensor .* of float64"),
        ("is none", "expected the same form in every round"),
        ("in place", "expected a new `memory.mean`, found the old one changed in place"),
    ],
)
def test_a_memory_that_cannot_be_kept_is_refused_before_anything_is_written(
    tmp_path: Path, change: str, complaint: str
):
    spec = small.experiment(defense=Remembering(change=change))
    with pytest.raises(sf.SpecError, match=complaint):
        sf.simulate(spec, tmp_path)
    assert not list(tmp_path.iterdir())


class Reporting(sf.Mean):
    """A mean that reports what the caller chooses."""

    what: str

    def diagnose(self, *_: Any, **__: Any) -> Any:
        return {"text": {"a": "b"}, "vector": {"a": torch.ones(3)}, "list": [1], "taken": {"lr": 1.0}}[
            self.what
        ]


@pytest.mark.parametrize(
    ("what", "complaint"),
    [
        ("text", "diagnose: `a`: expected a number, found 'b'"),
        ("vector", "diagnose: `a`: expected a number, found tensor"),
        ("list", "expected a diagnosis of numbers by name"),
        ("taken", "expected a diagnosis by names that a row does not have yet, found `lr`"),
    ],
)
def test_a_report_that_is_no_number_is_refused(tmp_path: Path, what: str, complaint: str):
    with pytest.raises(sf.SpecError, match=complaint):
        sf.simulate(small.experiment(defense=Reporting(what=what)), tmp_path)
    assert not list(tmp_path.iterdir())


class Counting(Method):
    """Counts its rounds, and sends arrays."""

    def init(self, params: Any) -> Any:
        return {"rounds": 0, "twice": [params, params]}

    def learn(self, view: Any, generator: Any) -> Any:
        return {**view.memory, "rounds": view.memory["rounds"] + 1}

    def craft(self, view: Any, generator: Any) -> Any:
        return np.full((view.uploads, len(view.params)), float(view.memory["rounds"]))


class Slow(Clip):
    """A bound in NumPy's numbers, with a memory of two parts."""

    def init(self) -> Any:
        return (torch.tensor(1.0), 0)

    def norm_at(self, lr: float, state: Any) -> Any:
        return np.float32(state[0])

    def next(self, state: Any, norms: Any) -> Any:
        return (state[0] * 0.9, state[1] + 1)


def test_an_attackers_and_a_clips_memories_are_resumed_as_they_were(tmp_path: Path):
    spec = small.experiment(rounds=6, attack=small.attack(method=Counting()), clip=Slow())
    whole = sf.simulate(spec)
    assert stopped_and_resumed(spec, tmp_path)["loss"] == whole["loss"]


class Silence(Method):
    """Sends what is no number, or more than numbers hold."""

    value: str

    def craft(self, view: Any, generator: Any) -> Any:
        return torch.full((view.uploads, len(view.params)), float(self.value))


@pytest.mark.filterwarnings("ignore::sparsefed.federation.checks.RejectedUploads")
@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.parametrize("rule", [sf.Bulyan(f=2), sf.MultiKrum(f=4, m=7), sf.TrimmedMean(f=5), sf.Mean()])
def test_hostile_uploads_cost_a_round_and_not_the_run(tmp_path: Path, value: str, rule: Any):
    presence = sf.attacks.FixedPerRound(count=2, first=4, last=6)
    attack = small.attack(presence=presence, method=Silence(value=value))
    spec = small.experiment(rounds=8, cohort=11, attack=attack, defense=rule)
    result, rows = sf.simulate(spec, tmp_path), Record(tmp_path, spec).rows()
    skipped = [row["round"] for row in rows if row["skipped"]]
    assert result["rounds"] == 8
    assert result["skipped"] == len(skipped)
    assert skipped == ([] if isinstance(rule, sf.Mean) else [4, 5, 6])


@pytest.mark.filterwarnings("ignore::sparsefed.federation.checks.RejectedUploads")
def test_a_cohort_of_attackers_alone_does_not_end_the_run():
    attack = small.attack(presence=sf.Pool(fraction=0.5), method=Silence(value="nan"))
    result = sf.simulate(small.experiment(rounds=12, cohort=1, attack=attack, defense=sf.Mean()))
    assert result["rounds"] == 12
    assert result["outcome"] != "diverged"
    assert 0 < result["skipped"] < 12


@pytest.mark.filterwarnings("ignore::sparsefed.federation.checks.RejectedUploads")
def test_a_run_without_a_single_round_done_says_so():
    presence = sf.attacks.FixedPerRound(count=2)
    attack = small.attack(presence=presence, method=Silence(value="nan"))
    result = sf.simulate(small.experiment(rounds=3, cohort=11, attack=attack, defense=sf.Bulyan(f=2)))
    assert (result["outcome"], result["skipped"]) == ("every round skipped", 3)
    assert "found 9" in result["skipped_because"]

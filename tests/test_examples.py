"""The user-defined parts in examples/ do what their pages say, and docs/extending.md shows the same files."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import sparsefed as sf
from sparsefed.runs.tables import read_table

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "examples")


def test_the_table_of_own_parts_runs_with_both_of_them():
    cells = list(read_table(ROOT / "examples" / "own_parts.toml").cells())
    assert {type(cell.experiment.defense).__name__ for cell in cells} == {"Mean", "GeometricMedian"}
    last = cells[-1].experiment.but(rounds=3)
    assert type(last.defense).__name__ == "GeometricMedian"
    assert last.attack is not None
    assert type(last.attack.method).__name__ == "LittleIsEnough"
    assert sf.simulate(last)["outcome"] != "diverged"


def test_the_geometric_median_has_the_smallest_sum_of_distances_and_stays_with_the_majority():
    from geometric_median import GeometricMedian  # pyright: ignore[reportMissingImports]

    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(9, 5))).float()
    rows[:3] += 1e4  # a third of the clients, far away
    found = GeometricMedian(steps=200).aggregate(sf.dense(rows))

    def cost(point: torch.Tensor) -> float:
        return float(torch.linalg.vector_norm(rows - point, dim=1).sum())

    assert float(found.abs().max()) < 5
    for direction in torch.eye(5):
        assert cost(found) <= min(cost(found + 0.05 * direction), cost(found - 0.05 * direction)) + 1e-2


@pytest.mark.parametrize("name", ["geometric_median.py", "little_is_enough.py", "own_parts.toml"])
def test_the_page_shows_the_example_as_it_is(name: str):
    page = (ROOT / "docs" / "extending.md").read_text()
    shown = re.findall(rf"^```\w+\n# {name}\n(.*?)^```$", page, re.M | re.S)
    assert shown == [(ROOT / "examples" / name).read_text()]

"""How many threads a run computes with."""

from pathlib import Path

import pytest
import small
import torch
from torch import nn

import sparsefed as sf
from sparsefed.runs.threads import begun_with, computing_with, multiply_adds, worthwhile_threads


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (nn.Linear(20, 7), (1, 20), 147),
        (nn.Conv2d(3, 8, 3, padding=1, bias=False), (1, 3, 10, 10), 100 * 8 * 27),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(6, 2, bias=False), nn.Linear(2, 5, bias=False)),
            (1, 2, 3),
            22,
        ),
        (nn.LSTM(4, 5, bias=False, batch_first=True), (1, 9, 4), 9 * (4 * 5 * 4 + 4 * 5 * 5)),
        (nn.Embedding(1000, 4), None, 0),
    ],
)
def test_each_weight_counts_as_often_as_it_is_used(layer: nn.Module, shape: tuple | None, expected: int):
    inputs = torch.zeros(1, 3, dtype=torch.long) if shape is None else torch.zeros(shape)
    assert multiply_adds(layer, inputs) == expected


def test_a_small_model_gets_one_thread():
    fed = sf.Federation.of(small.experiment())
    with computing_with(2):
        assert worthwhile_threads(fed) == 1
        assert torch.get_num_threads() == 2


def test_a_run_that_resumes_keeps_its_threads(tmp_path: Path):
    experiment = small.experiment(rounds=4)
    with computing_with(3):
        rows = sf.play(experiment, tmp_path, threads=2)
        first = [next(rows)]
        rows.close()
        assert torch.get_num_threads() == 3
    assert begun_with(first) == 2
    assert sf.simulate(experiment, tmp_path)["environment"]["threads"] == 2

"""How many threads a run computes with."""

import os
import subprocess
import sys
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


def test_a_run_computes_with_the_threads_that_it_was_given_from_its_first_kernel_on(tmp_path: Path):
    """Numba sets the runtime that it shares with PyTorch to its own number when it starts."""
    script = (
        "import numba, small, sparsefed as sf, torch\n"
        "from pathlib import Path\n"
        f"result = sf.simulate(small.experiment(rounds=2), Path({str(tmp_path)!r}), threads=1)\n"
        "assert numba.config.NUMBA_NUM_THREADS > 1\n"
        "print(result['environment']['threads'], torch.get_num_threads())\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent,
        env={**os.environ, "OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "2"},
    )
    assert told.stdout.split() == ["1", "2"]

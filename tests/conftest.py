"""What all tests share: no time limits, one thread, and where to find real data, if there is any."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")  # a busy machine is no reason to fail


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets, `$SPARSEFED_DATA` or beside the repository."""
    folder = Path(os.environ.get("SPARSEFED_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"needs real data in {folder} (or in $SPARSEFED_DATA)")
    return folder


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Small tensors: more threads only wait for each other."""
    torch.set_num_threads(1)

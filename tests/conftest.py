"""Where the tests find real data, if there is any."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets, `$SPARSEFED_DATA` or beside the repository."""
    folder = Path(os.environ.get("SPARSEFED_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"needs real data in {folder} (or in $SPARSEFED_DATA)")
    return folder

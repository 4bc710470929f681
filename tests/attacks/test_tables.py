"""The attack tables in `examples/` are tables of different experiments that this version can read."""

from pathlib import Path

import pytest

from sparsefed.tables import read_table

TABLES = sorted((Path(__file__).parents[2] / "examples" / "tables").glob("*.toml"))


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_every_cell_of_a_published_table_is_an_experiment_of_its_own(path: Path):
    cells = list(read_table(path).cells())
    assert len({cell.experiment.digest() for cell in cells}) == len(cells)

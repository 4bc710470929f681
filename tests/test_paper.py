"""The paper's tables and figures: every cell is an experiment, every printed number has its cell."""

from typing import Any

import pytest

import sparsefed as sf
from sparsefed.paper import SCALES, find_item, items, read_scale
from sparsefed.paper.items import Name, multiplied

ITEMS = list(items())


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", ITEMS, ids=str)
def test_every_cell_at_every_scale_is_an_experiment(name: Name, scale: str):
    cells = list(items()[name].at(scale).cells())
    differ = {cell.experiment.digest() for cell in cells}
    assert scale == "smoke" or len(differ) == len(cells)  # there, several data sets have one stand-in


@pytest.mark.parametrize("name", ITEMS, ids=str)
def test_every_printed_number_belongs_to_a_row_a_column_and_a_metric(name: Name):
    table = items()[name].at("small")
    shown = {
        text
        for row in table.rows
        for column in table.columns
        for metric in table.metrics
        if (text := table.printed(row, column, metric)) is not None
    }
    assert shown == set(texts(table.reported))


def texts(tree: dict[str, Any]) -> list[str]:
    return [
        text for value in tree.values() for text in (texts(value) if isinstance(value, dict) else [value])
    ]


@pytest.mark.parametrize("name", ["smoke", "small"])
def test_every_scale_has_every_setting_of_the_paper(name: str):
    assert set(read_scale(name).settings) == set(read_scale("paper").settings)


def test_whole_numbers_stay_whole_and_positive_and_absent_ones_absent():
    tree = {"defense": {"k": 5000, "momentum": 0.9, "type": "SparseFed"}, "rounds": 2}
    factors = {"defense.k": 0.0626, "defense.momentum": 0.5, "rounds": 0.1, "attack.method.epochs": 2}
    assert multiplied(tree, factors) == {"defense": {"k": 313, "momentum": 0.45}, "rounds": 1}


def test_a_stand_in_is_named_and_never_called_by_the_paper_s_data():
    note = find_item("table", "2").at("small").note
    assert "MNIST, in place of Fashion-MNIST" in note


def test_an_unknown_number_is_one_line_with_the_nearest():
    with pytest.raises(sf.SpecError, match=r"^table 3c: .*did you mean `table 3[ab]`\? expected .*3a, 3b"):
        find_item("table", "3c")

"""The paper's tables and figures: every cell is an experiment, every printed number has its cell."""

import io
import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from published import leaf_comments, official

import sparsefed as sf
from sparsefed.federation.round import run_round
from sparsefed.paper import SCALES, draw, find_item, items, read_scale
from sparsefed.paper.items import Name, multiplied
from sparsefed.paper.pictures import unbeaten
from sparsefed.runs import simulate as simulation
from sparsefed.runs.simulate import play, simulate

Command = Callable[..., tuple[int, str, str]]
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
    table = find_item("table", "2").at("small")
    assert "FMNIST: MNIST in place of Fashion-MNIST" in table.note
    assert list(table.columns) == ["CIFAR10", "CIFAR100", "MNIST for FMNIST", "QMNIST's writers for FEMNIST"]
    assert list(find_item("table", "2").at("paper").columns) == ["CIFAR10", "CIFAR100", "FMNIST", "FEMNIST"]
    assert (
        "on Fashion-MNIST (scale small, MNIST in place of Fashion-MNIST)"
        in find_item("table", "3a").at("small").title
    )


def test_an_unknown_number_is_one_line_with_the_nearest():
    with pytest.raises(sf.SpecError, match=r"^table 3c: .*did you mean `table 3[ab]`\? expected .*3a, 3b"):
        find_item("table", "3c")


def test_a_table_of_the_paper_that_was_stopped_goes_on_and_one_that_is_done_computes_nothing(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPARSEFED_DATA", raising=False)
    first, second = (cell.experiment for cell in find_item("table", "15").at("smoke", ["rounds=10"]).cells())
    simulate(first, "runs")
    begun = play(second, "runs")
    for _ in range(4):
        next(begun)
    begun.close()
    played = []
    monkeypatch.setattr(
        simulation, "run_round", lambda *args, **keys: played.append(1) or run_round(*args, **keys)
    )
    words = ("table", "15", "--scale", "smoke", "--set", "rounds=10")
    code, out, err = command(*words)
    assert (code, len(played)) == (0, second.rounds - 4), err
    assert "scikit-learn's digits in place of CIFAR-10" in out
    assert "| Adaptive |" in out
    assert "77.02" in out
    assert command(*words)[:2] == (0, out)
    assert len(played) == second.rounds - 4


def test_the_list_and_the_report_tell_what_was_found_beside_what_is_printed(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    cell = next(find_item("table", "15").at("smoke").cells())
    found = simulate(cell.experiment, "runs")["test_accuracy"]
    code, out, _ = command("paper")
    assert code == 0
    assert "\n    smoke: 1 of 2 runs\n" in out
    assert len(re.findall("^(?:table|figure) ", out, re.M)) == len(ITEMS)
    told = next(row for row in json.loads(command("paper", "--json")[1]) if row["item"] == "table 15")
    number = {"row": "Baseline", "column": "", "metric": "test_accuracy", "paper": "76.57"}
    assert told["smoke"]["found"] == [{**number, "found": f"{found:.1f}"}]
    assert command("report", "15", "--scale", "smoke", "--out", "t.md")[0] == 0
    assert re.search(rf"\| Baseline \| {found:.1f} \| 76.57 \|", (tmp_path / "t.md").read_text())


def test_missing_data_are_a_dash_and_one_reason(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SPARSEFED_DATA", str(tmp_path))
    code, out, _ = command("figure", "15", "--scale", "small")
    assert code == 0
    assert "| undefended | – | – | – | 0 | no data |" in out
    assert out.count("sparsefed data fetch cifar100") == 1


def shortened(number: str, row: str, *changes: str) -> sf.Experiment:
    """A cell of a figure at the scale `paper`, made small enough for a test's data."""
    few = ("rounds=3", "cohort=4", "evaluate_every=1", "device=cpu", *changes)
    cells = find_item("figure", number).at("paper", few).cells()
    return next(cell.experiment for cell in cells if cell.row == row)


def test_cifar100_as_published_is_what_its_figure_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SPARSEFED_DATA", str(tmp_path))
    (tmp_path / "cifar100").mkdir()
    rng = np.random.default_rng(0)
    with tarfile.open(tmp_path / "cifar100" / "cifar-100-python.tar.gz", "w:gz") as archive:
        for name, count in (("train", 40), ("test", 12)):
            pixels = rng.integers(0, 256, (count, 3 * 32 * 32), dtype=np.uint8)
            raw = official(pixels, rng.integers(0, 100, count).tolist(), b"fine_labels")
            member = tarfile.TarInfo(f"cifar-100-python/{name}")
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    few = ("partition.clients=20", "attack.presence.clients=2", "attack.objective.points=3", "model.width=1")
    assert simulate(shortened("15", "clip 5", *few))["clients"] == 20


def test_reddit_as_leaf_prepares_it_is_what_its_figure_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SPARSEFED_DATA", str(tmp_path))
    said = ["people in athens are rude to cats and all the cats are rude to people", "they sleep"] * 4
    for part in ("train", "val", "test"):
        folder = tmp_path / "reddit" / part
        folder.mkdir(parents=True)
        users = {str(number): leaf_comments(said[number:]) for number in range(6)}
        content = {"users": [*users], "num_samples": [len(said)] * 6, "user_data": users}
        (folder / f"reddit_0_{part}.json").write_text(json.dumps(content))
    few = ("attack.presence.round=2", "attack.objective.points=4", "model.embedding=8", "model.hidden=8")
    assert simulate(shortened("10", "clip 3", *few))["clients"] == 6


@pytest.mark.parametrize(
    ("number", "series"),
    [("2", ["cross-silo", "cross-device"]), ("5", ["Clipping", "noise on the sum", "noise on the step"])],
)
def test_a_figure_has_a_series_per_column_where_rows_set_its_axis_and_per_row_elsewhere(
    number: str, series: list[str], tmp_path: Path
):
    table = find_item("figure", number).at("smoke")
    results = [
        (cell, {"test_accuracy_rest": 90.0 - place, "attack_accuracy": 2.0 * place, "oif": 0.1 * place})
        for place, cell in enumerate(table.cells())
    ]
    draw(table, results, tmp_path / "f.svg")
    drawn = re.findall("<!-- (.*?) -->", (tmp_path / "f.svg").read_text())
    assert drawn[-len(series) :] == series


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_a_frontier_joins_the_points_that_no_other_beats(points: list[tuple[int, int]]):
    def beaten(one: tuple[int, int]) -> bool:
        return any(other != one and other[0] >= one[0] and other[1] >= one[1] for other in points)

    assert set(unbeaten(points)) == {point for point in points if not beaten(point)}

"""Pictures of runs: every table can be drawn, however many lines and columns it has, and every name."""

import itertools
import re
from pathlib import Path

import pytest
from hypothesis import example, given, strategies as st
from PIL import Image

from sparsefed.core.errors import RunError
from sparsefed.report import plots
from sparsefed.report.colors import BLACK, DASHES, PALETTE, color_of, styles
from sparsefed.report.figures import as_svg, blank_figure, end_labels, percent_limits
from sparsefed.report.plots import ACCURACIES, Curve, plot_curves
from sparsefed.runs.results import METRICS

ROWS = [
    {"round": t, "test_accuracy": 50.0 + t, "attack_accuracy": None if t < 3 else 9.0} for t in range(1, 9)
]


def curves(lines: int, rows: list = ROWS) -> list[Curve]:
    return [Curve(f"a run with a rather long name, number {line}", "Mean", rows) for line in range(lines)]


@pytest.mark.parametrize("lines", [1, 6, 16])
@pytest.mark.parametrize("columns", [("",), ("one", "two")], ids=len)
def test_runs_are_drawn_however_many_there_are(tmp_path: Path, lines: int, columns: tuple[str, ...]):
    plot_curves({column: curves(lines) for column in columns}, ACCURACIES, tmp_path / "a.png", "title " * 40)
    with Image.open(tmp_path / "a.png") as picture:
        assert min(picture.size) > 300
        assert len(set(picture.convert("L").tobytes())) > 10  # not a blank page


@pytest.mark.parametrize("others", [0, 8], ids=["together", "apart"])
def test_a_run_that_only_a_later_column_has_is_in_the_legend_and_looks_the_same_everywhere(
    others: int,
) -> None:
    rest = [Curve(f"other {line}", "Median", ROWS) for line in range(others)]
    clip, krum, tuned = (
        Curve(name, rule, ROWS) for name, rule in [("a", "Mean"), ("b", "Krum"), ("c", "Mean")]
    )
    columns = {"one": [clip, *rest], "two": [tuned, krum, *rest]}
    figure = plots.curves_figure(columns, ACCURACIES)
    (legend,) = figure.legends
    named = dict(zip([text.get_text() for text in legend.get_texts()], legend.legend_handles, strict=True))
    assert list(named) == (["one", "two"] if others else ["a", "c", "b"])
    looks = [(line.get_color(), line.get_linestyle()) for line in named.values()]
    assert len({dashes for _, dashes in looks} if others else set(looks)) == len(looks)
    if not others:
        left, right = figure.axes[:2]
        drawn = {(line.get_color(), line.get_linestyle()) for panel in (left, right) for line in panel.lines}
        assert drawn == set(looks)


@pytest.mark.parametrize("lines", [1, 8], ids=["together", "apart"])
@pytest.mark.parametrize("apart", [50.0, 1.0])
def test_panels_of_one_metric_have_one_scale_that_shows_every_column(lines: int, apart: float) -> None:
    columns = {
        name: [Curve(str(line), "Mean", [{"round": 1, "loss": loss}]) for line in range(lines)]
        for name, loss in (("one", 0.1), ("two", 0.1 * apart))
    }
    figure = plots.curves_figure(columns, ["loss"])
    ((low, high),) = {panel.get_ylim() for panel in figure.axes}
    assert low < 0.1 <= 0.1 * apart < high


@pytest.mark.parametrize("name", ["$x_1$", "_hidden", "[bold]", "a | b", "名前", "\\frac{", "100 %"])
def test_names_are_drawn_as_they_are(tmp_path: Path, name: str):
    named = [Curve(name, "Krum", ROWS), Curve("other", "Mean", ROWS)]
    for columns in ({"": named}, {name: named, "b": named}):
        plot_curves(columns, ACCURACIES, tmp_path / "a.png", name)
    assert (tmp_path / "a.png").stat().st_size > 0


def test_only_metrics_that_were_measured_get_a_panel(monkeypatch: pytest.MonkeyPatch):
    untroubled = {"": [Curve("no attack", "Mean", [{"round": 1, "test_accuracy": 90.0}])]}
    kept = []
    monkeypatch.setattr(plots, "save", lambda figure, _: kept.append(figure))
    plot_curves(untroubled, ACCURACIES, Path("a.png"), "title")
    plot_curves(untroubled, ["oif"], Path("a.png"), "title")
    plot_curves({"": curves(2)}, ["attack_accuracy", "test_accuracy"], Path("a.png"), "title")
    assert [[panel.get_title() for panel in figure.axes] for figure in kept] == [
        ["test accuracy, %"],
        ["test accuracy, %"],
        ["attack accuracy (ASR), %", "test accuracy, %"],
    ]
    assert {tick % 1 for panel in kept[2].axes for tick in panel.get_xticks()} == {0.0}


def test_what_rows_hold_otherwise_than_the_table_is_not_drawn():
    row = {"round": 1, "skipped": "too few", "rejected": 2, "compromised": 1, "seconds_server": 0.1}
    row |= {"loss": 1.0, "twin_test_accuracy": 90.0, "test_accuracy": None}
    curve = Curve("run", "Mean", [row])
    drawn = [metric for metric in (*METRICS, "accuracy_by_class") if curve.points(metric)[0]]
    assert drawn == ["loss", "twin_test_accuracy"]
    figure = plots.curves_figure({"": [curve]}, ["skipped", "rejected", "loss"])
    assert [panel.get_title() for panel in figure.axes] == ["loss"]


def test_a_picture_that_cannot_be_written_is_one_clear_error(tmp_path: Path):
    with pytest.raises(RunError, match="cannot be written"):
        plot_curves({"": curves(1)}, ACCURACIES, tmp_path / "nowhere" / "a.png", "title")


@given(st.lists(st.floats(0, 100)))
def test_limits_show_all_data_and_at_least_ten_points(values: list[float]):
    low, high = percent_limits(values)
    assert -2 <= low < high <= 102
    assert high - low >= 7  # where the data touch 0 or 100, the margin beyond them is cut
    assert all(low <= value <= high for value in values)


@example(["Mean"] * 5 + ["SparseFed"])
@given(st.lists(st.sampled_from(["Mean", "SparseFed", "Krum", "my:Rule"]), max_size=20))
def test_no_two_lines_of_a_picture_look_alike(defenses: list[str]):
    looks = list(styles(defenses))
    assert len(set(looks)) == len(looks) == len(defenses)
    own = [color_of(name) for name in defenses]
    assert [color for color, _ in looks] == own or max(map(own.count, own)) > len(DASHES)
    assert {color for color, _ in looks} <= {*own, *PALETTE}


def test_a_defense_has_one_color_in_every_picture():
    assert [color for color, _ in styles(["Krum", "SparseFed"])] == [color_of("Krum"), color_of("SparseFed")]
    assert next(styles(["SparseFed"]))[0] == color_of("SparseFed")


def test_a_defense_keeps_its_color_where_every_run_has_a_panel_of_its_own():
    columns = {name: [Curve("run", name, ROWS)] for name in ("Mean, anchored", "Mean")}
    figure = plots._apart(columns, ["test_accuracy"])
    lines = figure.subfigs[0].axes[0].get_lines()[-2:]
    assert [line.get_color() for line in lines] == [color_of(name) for name in columns]


@pytest.mark.parametrize("count", [2, 7])
def test_a_column_has_its_dashes_in_every_panel_and_in_a_legend_without_the_color_of_a_defense(count: int):
    rules = ["Mean", "Krum", "Median", "SparseFed", "Bulyan", "FetchSGD", "TrimmedMean"]
    columns = {
        f"column {place}": [Curve(rule, rule, ROWS) for rule in rules[place:] + rules[:place]]
        for place in range(count)
    }
    figure = plots.curves_figure(columns, ["test_accuracy"])
    handles = [handle for legend in figure.legends for handle in legend.legend_handles]
    patterns = [handle._unscaled_dash_pattern for handle in handles]
    assert len(set(map(str, patterns))) == count
    assert {handle.get_color() for handle in handles} == {BLACK}
    for rule, panel in zip(rules, figure.axes, strict=True):
        lines = panel.get_lines()[-count:]
        assert {line.get_color() for line in lines} == {color_of(rule)}
        assert [line._unscaled_dash_pattern for line in lines] == patterns


def test_behind_each_of_many_runs_stand_only_some_of_the_others():
    for lines in (12, 13, 40):
        figure = plots.curves_figure({"": curves(lines)}, ["test_accuracy"])
        counts = {len(panel.get_lines()) for panel in figure.axes}
        assert counts <= set(range(7, 14))


@pytest.mark.parametrize("lines", [2, 8], ids=["together", "apart"])
def test_nothing_in_the_picture_of_a_page_is_white(lines: int):
    figure = plots.curves_figure({"one": curves(lines), "two": curves(lines)}, ["test_accuracy"])
    assert figure.legends
    assert not re.search("#fff|white", as_svg(figure))


def test_names_of_several_lines_at_the_ends_of_curves_do_not_overlap() -> None:
    figure = blank_figure(5, 3)
    panel = figure.subplots()
    panel.set_ylim(0, 100)
    name = "a name that is far too long for one line beside a panel"
    end_labels(panel, [(1.0, height, f"{name} {i}", "black") for i, height in enumerate((50.0, 50.5, 51.0))])
    figure.canvas.draw()
    boxes = sorted((text.get_window_extent() for text in panel.texts), key=lambda box: box.y0)
    assert all(below.y1 <= above.y0 for below, above in itertools.pairwise(boxes))

"""Pictures of runs: every table can be drawn, however many lines and columns it has."""

from pathlib import Path

import pytest
from PIL import Image

from sparsefed.core.errors import RunError
from sparsefed.report.plots import plot_accuracies, plot_columns

ROWS = [{"round": t, "test_accuracy": 50.0 + t, "attack_accuracy": None if t < 3 else 9.0} for t in range(9)]


@pytest.mark.parametrize("lines", [1, 3, 16, 31])
def test_runs_are_drawn_with_a_legend_that_fits(tmp_path: Path, lines: int):
    runs = {f"a run with a rather long name, number {line}": ROWS for line in range(lines)}
    plot_accuracies(runs, tmp_path / "a.png", "title")
    plot_columns({"one": runs, "two": runs}, tmp_path / "b.png", "title")
    for name in ("a.png", "b.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.width > picture.height > 300
            assert len(set(picture.convert("L").tobytes())) > 10  # not a blank page


def test_a_run_without_attack_accuracy_is_drawn_too(tmp_path: Path):
    untroubled = [{"round": 1, "test_accuracy": 90.0}]
    plot_columns({"": {"no attack": untroubled}}, tmp_path / "c.png", "title")
    assert (tmp_path / "c.png").stat().st_size > 0


def test_a_picture_that_cannot_be_written_is_one_clear_error(tmp_path: Path):
    with pytest.raises(RunError, match="cannot be written"):
        plot_accuracies({"run": ROWS}, tmp_path / "nowhere" / "a.png", "title")

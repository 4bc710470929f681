"""examples/own_server.py, from one end to the other."""

import runpy
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "own_server.py"


def test_the_example_reports_saves_and_goes_on_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    play = runpy.run_path(str(EXAMPLE))["play"]
    whole = play(tmp_path / "whole.npz", rounds=6)
    said = capsys.readouterr().out
    play(tmp_path / "halves.npz", rounds=3)
    halves = play(tmp_path / "halves.npz", rounds=3)
    assert capsys.readouterr().out == said
    assert isinstance(whole, np.ndarray)
    assert np.array_equal(whole, halves)
    assert "ann: accepted, 100 % of it in the aggregate, with 20 % of the weight" in said
    assert "eve: clipped to 1.26e-31 of its norm 7.937e+30, 100 % of it in the aggregate, with 20 %" in said
    assert "nan: left out: expected finite numbers, found NaN or infinity" in said
    assert "old: left out: expected shapes (20, 3), (3,), found shapes (20, 2), (2,)" in said
    assert not list(tmp_path.glob("*.part"))

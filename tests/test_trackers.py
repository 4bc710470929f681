"""Rows reach other people's dashboards, and come through unchanged."""

from pathlib import Path

import pytest
import small

import sparsefed as sf
from sparsefed.report import trackers


def test_tensorboard_reads_what_was_logged(tmp_path: Path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    experiment = small.experiment(rounds=4, evaluate_every=2)
    rows = list(trackers.tensorboard(sf.play(experiment), tmp_path, experiment))
    found = events.EventAccumulator(str(tmp_path)).Reload()
    logged = [(event.step, event.value) for event in found.Scalars("test_accuracy")]
    measured = [(row["round"], row["test_accuracy"]) for row in rows if "test_accuracy" in row]
    assert [step for step, _ in logged] == [round for round, _ in measured] == [2, 4]
    assert [value for _, value in logged] == pytest.approx([value for _, value in measured])
    assert "experiment/text_summary" in found.Tags()["tensors"]


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    experiment = small.experiment()
    with pytest.raises(sf.RunError, match=r"pip install sparsefed\[wandb\]"):
        next(trackers.wandb(sf.play(experiment), "mine", experiment))

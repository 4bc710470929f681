"""Files and modules are found beside the experiment that names them, whatever the current folder."""

from pathlib import Path

import numpy as np
import pytest

import sparsefed as sf
from sparsefed.core.text import text_of
from sparsefed.federation.experiment import read_experiment

TOML = """
rounds = 1
cohort = 5
data = { type = "Npz", path = "digits.npz" }
partition = { type = "IID", clients = 10 }
model = { type = "placed_model:build" }
schedule = { type = "Constant", value = 0.1 }
defense = { type = "Mean" }
"""
MODEL = """
import torch
def build(shape, classes):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, classes))
"""


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    x, y = np.arange(80.0).reshape(20, 4) / 80, np.arange(20) % 2
    np.savez(tmp_path / "digits.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    (tmp_path / "placed_model.py").write_text(MODEL)
    (tmp_path / "own.toml").write_text(TOML)
    return tmp_path / "own.toml"


def test_an_experiment_runs_from_any_folder(
    experiment: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert sf.simulate(read_experiment(experiment))["rounds"] == 1


def test_a_missing_file_or_module_is_named_with_the_places_searched(
    experiment: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    for change, name in (("data.path=no.npz", "no.npz"), ("model.type=no_model:build", "no_model.py")):
        with pytest.raises(sf.SparseFedError) as caught:
            sf.simulate(read_experiment(experiment, [change]))
        assert f"{experiment.parent / name} or " in str(caught.value)
        assert f"{elsewhere / name}" in str(caught.value)


def test_a_path_may_begin_at_home(experiment: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(experiment.parent))
    data = sf.data.Npz(path=Path("~/digits.npz"))
    assert len(data.load().train.y) == 20
    assert data.sources().keys() == {"digits.npz"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_text_is_the_same_whatever_wrote_it(encoding: str, end: str):
    assert text_of("a = 1\nb = 'ä'\n".replace("\n", end).encode(encoding)) == "a = 1\nb = 'ä'\n"


def test_a_data_folder_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("SPARSEFED_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(sf.DataError, match=r"SPARSEFED_DATA: expected a folder, found .*nowhere"):
        sf.data.MNIST().load()

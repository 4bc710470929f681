"""What all tests share: no time limits, one thread, and where to find real data, if there is any."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import second_device
import torch
from hypothesis import settings
from torch.utils import backend_registration

from sparsefed import cli
from sparsefed.federation.checks import use_device

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")  # a busy machine is no reason to fail
has_gpu = torch.cuda.is_available()
has_devices = hasattr(backend_registration, "_setup_privateuseone_for_python_backend")
if has_gpu:
    use_device("cuda")
elif has_devices:  # not beside a GPU: there most tests with gradients failed
    second_device.install()  # before the first gradient, when PyTorch counts its devices


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets, `$SPARSEFED_DATA` or beside the repository."""
    folder = Path(os.environ.get("SPARSEFED_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"needs real data in {folder} (or in $SPARSEFED_DATA)")
    return folder


@pytest.fixture(
    params=[
        second_device.DEVICE,
        pytest.param("cuda", marks=pytest.mark.skipif(not has_gpu, reason="needs a GPU")),
    ]
)
def other_device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A device that is not the CPU: a GPU, or where there is none a device that follows its rules."""
    if request.param != second_device.DEVICE:
        yield request.param
        return
    if has_gpu:
        pytest.skip("the GPU stands in its place")
    if not has_devices:
        pytest.skip(f"torch {torch.__version__} has no devices written in Python")
    monkeypatch.setattr(torch, "Generator", second_device.CPUGenerator)
    with second_device.Draws():
        yield request.param


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The command line: takes words, gives the exit code, the output and the error output."""

    def called(*words: str) -> tuple[int, str, str]:
        try:
            cli.main(words)
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        found = capsys.readouterr()
        return code, found.out, found.err

    return called


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Small tensors: more threads only wait for each other."""
    torch.set_num_threads(1)

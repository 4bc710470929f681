"""What the commands share: their options, and how they print."""

import json
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any

from cyclopts import Parameter, validators
from rich.console import Console

from sparsefed.core.errors import SpecError

__all__ = [
    "AsJson",
    "Jobs",
    "Out",
    "Plot",
    "Resumable",
    "Runs",
    "Set",
    "Threads",
    "say",
    "say_json",
    "use_threads",
]


def _file(_: Any, path: Path | None) -> None:
    """Refuse before anything runs what cannot be written when all has run."""
    if path is not None and path.is_dir():
        raise SpecError("Needed: a file, found a folder.")
    if path is not None and not path.parent.is_dir():
        raise SpecError(f"Needed: a file in a folder that is there; {path.parent} is not.")


def _picture(_: Any, path: Path | None) -> None:
    _file(_, path)
    if path is not None and path.suffix.lower() not in {".png", ".svg", ".pdf"}:
        raise SpecError("Needed: a name that ends in .png, .svg or .pdf.")


Set = Annotated[list[str], Parameter("--set", negative="")]
Runs = Annotated[Path, Parameter("--runs")]
AsJson = Annotated[bool, Parameter("--json", negative="")]
Out = Annotated[Path | None, Parameter("--out", validator=_file)]
Plot = Annotated[Path | None, Parameter("--plot", validator=_picture)]
Threads = Annotated[int | None, Parameter("--threads")]
Jobs = Annotated[int, Parameter("--jobs", validator=validators.Number(gte=1))]


class Resumable:
    """Turns Ctrl-C into a line that says how to go on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type | None, problem: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(problem, KeyboardInterrupt):
            raise KeyboardInterrupt(f"stopped; saved in {self.folder}: the same command goes on from there")


def use_threads(threads: int | None) -> None:
    """Compute with so many threads (PyTorch's own choice if not given), and keep large blocks of memory."""
    import torch

    from sparsefed.core.allocator import keep_large_blocks

    keep_large_blocks()
    if threads is not None:
        if threads < 1:
            raise SpecError(f"--threads {threads}: needs at least 1")
        torch.set_num_threads(threads)


def say(what: Any) -> None:
    """Print text as it is, or a table; for a pipe as wide as it needs to be."""
    console = Console()
    console = console if console.is_terminal else Console(width=1000)
    console.print(what, soft_wrap=isinstance(what, str), highlight=False, markup=not isinstance(what, str))


def say_json(value: Any) -> None:
    """Print for machines."""
    print(json.dumps(value, indent=1))

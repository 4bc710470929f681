"""What the commands share: their options, and how they print."""

import inspect
import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from signal import SIG_IGN, SIGINT, SIGTERM, getsignal
from typing import Annotated, Any, get_args, get_origin

from cyclopts import CycloptsError, Parameter
from cyclopts.exceptions import CoercionError, MissingArgumentError

from sparsefed.core.errors import SpecError
from sparsefed.core.interrupts import interruptible

__all__ = [
    "AsCsv",
    "AsJson",
    "Cluster",
    "Fresh",
    "Jobs",
    "Out",
    "Plot",
    "Runs",
    "Set",
    "Share",
    "Shares",
    "Threads",
    "as_typed",
    "beside",
    "complaint",
    "ending",
    "flowing",
    "keep_memory",
    "news",
    "resumable",
    "say",
    "say_csv",
    "say_json",
    "typed_words",
    "use_threads",
    "whole",
    "write",
]


def _file(_: Any, path: Path | None) -> None:
    """Refuse before anything runs what cannot be written when all has run."""
    if path is not None and path.is_dir():
        raise SpecError(f"expected a file, found the folder {path}")
    if path is not None and not path.parent.is_dir():
        raise SpecError(f"expected a file in a folder that is there, found no folder {path.parent}")


def _picture(_: Any, path: Path | None) -> None:
    _file(_, path)
    if path is not None and path.suffix.lower() not in {".png", ".svg", ".pdf"}:
        raise SpecError(f"expected a name that ends in .png, .svg or .pdf, found {path}")


def ending(*suffixes: str) -> Callable[[Any, Path | None], None]:
    """A validator of file names that end in one of `suffixes`, in a folder that is there."""

    def check(_: Any, path: Path | None) -> None:
        _file(_, path)
        if path is not None and path.suffix not in suffixes:
            raise SpecError(f"expected a name that ends in {', '.join(suffixes)}, found {path}")

    return check


def whole(*names: str, least: int, **options: Any) -> Parameter:
    """An option of a whole number, or of several; `1.6` is refused, which would be rounded otherwise."""

    def read(kind: Any, tokens: Sequence[Any]) -> Any:
        for token in tokens:
            if not re.fullmatch(r"[+-]?\d+", token.value):
                raise ValueError(f"{token.keyword}: expected a whole number, found {token.value!r}")
        numbers = [int(token.value) for token in tokens]
        return numbers if get_origin(kind) is list else numbers[0]

    def check(_: Any, value: Any) -> None:
        for number in value if isinstance(value, list) else [value]:
            if number is not None and number < least:
                raise SpecError(f"expected a whole number of at least {least}, found {number}")

    return Parameter(names or None, converter=read, validator=check, **options)


def _shares(_: Any, value: Any) -> None:
    for share in value if isinstance(value, list) else [value]:
        if not 0 < share < 1:
            raise SpecError(f"expected a share above 0 and below 1, found {share:g}")


Set = Annotated[list[str], Parameter("--set", negative="", show_default=False)]
Runs = Annotated[Path, Parameter("--runs")]
AsJson = Annotated[bool, Parameter("--json", negative="")]
Out = Annotated[Path | None, Parameter("--out", validator=_file)]
Plot = Annotated[Path | None, Parameter("--plot", validator=_picture)]
AsCsv = Annotated[bool, Parameter("--csv", negative="")]
Fresh = Annotated[bool, Parameter("--fresh", negative="")]
Threads = Annotated[int | None, whole("--threads", least=1)]
Share = Annotated[float, Parameter("--compromised", validator=_shares)]
Shares = Annotated[
    list[float], Parameter("--compromised", negative="", show_default=False, validator=_shares)
]
Cluster = Annotated[str | None, Parameter("--cluster")]
Jobs = Annotated[int, whole("--jobs", least=1)]


def complaint(problem: CycloptsError) -> str:
    """What is wrong with the words of a command, in one line: what was expected, what was found."""
    if isinstance(problem, CoercionError) and problem.token is not None:
        kind = next((part for part in get_args(problem.target_type) if part in _KINDS), problem.target_type)
        expected = _KINDS.get(kind, getattr(kind, "__name__", "a value"))
        option = problem.token.keyword or (problem.argument.name if problem.argument else "")
        return f"{option}: expected {expected}, found {problem.token.value!r}"
    if isinstance(problem, MissingArgumentError) and problem.argument is not None:
        option = problem.keyword or next((t.keyword for t in problem.argument.tokens if t.keyword), None)
        return f"{option or _missing(problem)}: expected a value, found none"
    return " ".join(str(problem).split())


_KINDS: dict[Any, str] = {int: "a whole number", float: "a number"}


def _missing(problem: MissingArgumentError) -> str:
    """An argument that was not given, as `--help` shows it, and where to look it up."""
    assert problem.argument is not None
    name = problem.argument.name
    if problem.argument.field_info.is_positional:
        name = name.strip("-_").upper()
    return f"{name} (see `sparsefed {' '.join(problem.command_chain or ())} --help`)"


def flowing(command: Callable[..., None]) -> Callable[..., None]:
    """The command, each paragraph of its docstring made one line: in help, the terminal breaks lines."""
    lines = [""]
    for line in inspect.cleandoc(command.__doc__ or "").splitlines():
        apart = not (line and lines[-1]) or "---" in line + lines[-1] or line.startswith("Example")
        if not apart and _indent(line) == _indent(lines[-1]):
            lines[-1] += " " + line.strip()
        else:
            lines.append(line)
    command.__doc__ = "\n".join(lines).strip()
    return command


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


@contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM end a run that saves, with a line that says how to go on."""
    stops = [number for number in (SIGINT, SIGTERM) if getsignal(number) is not SIG_IGN]
    try:
        with interruptible(*stops):
            yield
    except KeyboardInterrupt:
        if not folder.exists():
            raise KeyboardInterrupt("stopped before the first round was saved") from None
        raise KeyboardInterrupt(f"stopped; saved in {folder}; run the same command to resume") from None


def use_threads(threads: int | None) -> None:
    """Compute with so many threads (PyTorch's own choice if not given), and keep large blocks of memory."""
    import torch

    keep_memory()
    if threads is not None:
        torch.set_num_threads(threads)


def keep_memory() -> None:
    """Keep large blocks of memory in the process."""
    from sparsefed.core.allocator import keep_large_blocks

    keep_large_blocks()


_typed: ContextVar[Sequence[str]] = ContextVar("words")


def typed_words(words: Sequence[str]) -> None:
    """Remember what was typed after `sparsefed`."""
    _typed.set(words)


def as_typed() -> str:
    """The command that runs, quoted as a shell needs it."""
    return shlex.join(["sparsefed", *_typed.get()])


def write(path: Path, text: str) -> None:
    """Put `text` at `path`, whole or not at all."""
    from sparsefed.core.files import readable_errors, write_atomically

    with readable_errors(path):
        write_atomically(path, text.encode())
    news(f"written: {path}")


def beside(out: Path, plot: Path | None) -> str:
    """How a page at `out` names the picture at `plot`; empty without one."""
    return "" if plot is None else os.path.relpath(plot, out.parent)


def say(what: Any) -> None:
    """Print text as it is, or something as wide as the terminal, as $COLUMNS, or as 80 columns."""
    from rich.console import Console
    from rich.text import Text

    is_text = isinstance(what, str)
    Console(highlight=False).print(Text(what) if is_text else what, soft_wrap=is_text)


def news(line: str) -> None:
    """Tell what was written, beside the output: on the error output, where it is in nobody's way."""
    print(line, file=sys.stderr)


def say_json(value: Any) -> None:
    """Print for machines."""
    print(json.dumps(value, indent=1))


def say_csv(rows: Sequence[dict[str, Any]]) -> None:
    """Print rows for a spreadsheet, a column for every key that some row has."""
    import csv

    heads = dict.fromkeys(key for row in rows for key in row)
    writer = csv.DictWriter(sys.stdout, list(heads), lineterminator="\n")
    writer.writeheader()
    plain = [{key: value for key, value in row.items() if not isinstance(value, dict)} for row in rows]
    writer.writerows(plain)

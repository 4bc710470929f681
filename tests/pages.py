"""Documentation pages as lists of code blocks, and how each kind of block is tried.

A block's first line may name a file (`# mine.py`): the block is then that file. `<!-- parse only: why -->`
in the line before a block leaves it unexecuted: it must still parse, name real commands and real keys.
"""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from sparsefed import cli
from sparsefed.certify.votes import read_plan as read_certificates
from sparsefed.federation.experiment import Experiment, read_experiment
from sparsefed.frontier import Plan, read_plan
from sparsefed.frontier.leaderboard import Leaderboard
from sparsefed.runs.tables import read_table

__all__ = ["FEW_ROUNDS", "ROOT", "Block", "blocks", "pages", "shortened", "transcript", "tried"]

ROOT = Path(__file__).parents[1]
FENCE = re.compile(
    r"(?:^<!-- parse only: (?P<why>.+?) -->\n+)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.M | re.S
)
SHOWN = {"text", "json", "markdown"}  # output and layouts: nothing to execute
OTHER_COMMANDS = {"git", "make", "pip", "python3"}  # tried by .ci/run, which sets the project up
FEW_ROUNDS = 4


class Block(NamedTuple):
    """One fenced block of a page."""

    kind: str
    text: str
    parse_only: bool

    @property
    def file(self) -> str | None:
        """The file that the block's first line names, or None."""
        named = re.match(r"# ([\w/.]+\.(?:py|toml))\n", self.text)
        return named[1] if named else None


def pages() -> list[str]:
    """Every page that a user reads, relative to the root."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/**/*.md")]
    return sorted(str(path.relative_to(ROOT)) for path in found)


def blocks(page: str) -> list[Block]:
    """The blocks of a page, in order; MyST directives such as ```{toctree} are none."""
    found = FENCE.finditer((ROOT / page).read_text())
    return [Block(each["kind"], each["text"], each["why"] is not None) for each in found]


def transcript(page: str, command: str) -> list[str]:
    """The lines that a page shows below a command."""
    found = blocks(page)
    (place,) = (place for place, block in enumerate(found) if block.text.strip() == command)
    return found[place + 1].text.splitlines()


def shortened(toml: str) -> str:
    """The same experiment or table with few rounds."""
    return re.sub(r"^rounds = \d+$", f"rounds = {FEW_ROUNDS}", toml, flags=re.M)


def tried(block: Block, names: dict[str, object]) -> None:
    """Execute a block in the current folder, or parse it; fails as the user would see it fail."""
    if block.kind in SHOWN:
        return
    {"python": _python, "toml": _toml, "bash": _bash}[block.kind](block, names)


def _python(block: Block, names: dict[str, object]) -> None:
    code = compile(block.text, block.file or "<page>", "exec")
    if block.file:
        Path(block.file).write_text(block.text)
    elif not block.parse_only:
        exec(code, names)


def _toml(block: Block, names: dict[str, object]) -> None:
    found = tomllib.loads(block.text)
    path = Path(block.file or "block.toml")
    path.write_text(shortened(block.text))
    if "defenses" in found:
        read_plan(path, kind=Leaderboard if "attacks" in found else Plan)
    elif "certificates" in found:
        read_certificates(path)
    elif "base" in found:
        read_table(path)
    elif "rounds" in found:
        read_experiment(path)
    else:  # some keys of an experiment: they must fit the one in the examples
        Experiment(**tomllib.loads((ROOT / "examples/digits.toml").read_text()) | found)


def _bash(block: Block, names: dict[str, object]) -> None:
    for command, *words in _commands(block.text):
        if command == "sparsefed":
            _sparsefed(words, block.parse_only)
        else:
            assert command in OTHER_COMMANDS, f"{command}: not known here"
            if command == "make":
                assert all(
                    re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M) for target in words
                )


def _sparsefed(words: list[str], parse_only: bool) -> None:
    if parse_only:
        cli.app.parse_args(words, exit_on_error=False, print_error=False)
        return
    paths = [sorted(map(str, Path().glob(word))) if "*" in word else [word] for word in words]
    with pytest.raises(SystemExit) as end:
        cli.main([word for found in paths for word in found])
    assert end.value.code in (None, 0), f"sparsefed {' '.join(words)} ends with {end.value.code}"


def _commands(text: str) -> Iterator[list[str]]:
    for line in text.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words[: words.index(">")] if ">" in words else words

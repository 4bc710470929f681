"""One run = one folder: `spec.json`, `rounds.jsonl`, `state.safetensors` and, at the end, `result.json`.

This file reads them; `journal` writes them. Each carries its own checksum (`seals`).
"""

import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsefed.core.errors import RunError, SparseFedError, SpecError, StaleError
from sparsefed.core.text import amount
from sparsefed.runs.seals import UNSEALED, intact, sealed
from sparsefed.runs.sources import changed, own_files

if TYPE_CHECKING:  # a list of runs must not wait for what computes
    from sparsefed.federation.experiment import Experiment

__all__ = ["FORMAT", "Kept", "Outcome", "Record", "Row", "ended", "find_record", "refuse_stale", "to_json"]

FORMAT = 2
"""Version of the folder's files; a folder of another version is refused."""

FILES = ("spec.json", "rounds.jsonl", "state.safetensors", "result.json")

Row = dict[str, Any]

Outcome = Row | SparseFedError
"""What became of a run: its result, or why it has none."""


class Kept:
    """The folder of a run, and what is in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def spec(self) -> Row:
        """What the run is and which files it was made with."""
        return _spec_of(self.folder)

    @property
    def result(self) -> Row | None:
        """The result, if the run has ended."""
        path = self.folder / "result.json"
        if not path.exists():
            return None
        raw = path.read_bytes()
        return _sealed(path, raw, _parsed(path, raw))

    def rows(self) -> list[Row]:
        """The rows of the rounds so far; from the first that is not whole, they do not count."""
        path = self.folder / "rounds.jsonl"
        rows = []
        for line in path.read_bytes().splitlines() if path.exists() else []:
            if not intact(line):
                break
            rows.append({key: value for key, value in json.loads(line).items() if key != "checksum"})
        result = self.result
        if result is not None:
            check_rows(path, rows, result["rounds"])
        return rows

    @property
    def has_ended(self) -> bool:
        """Whether there is a result."""
        return (self.folder / "result.json").exists()

    @property
    def has_rounds(self) -> bool:
        """Whether anything was computed that could be lost."""
        return any((self.folder / name).exists() for name in ("state.safetensors", "result.json"))


class Record(Kept):
    """The folder of one experiment under `runs`, named by the experiment's digest."""

    def __init__(self, runs: Path, experiment: "Experiment") -> None:
        super().__init__(runs / experiment.digest())
        self.experiment = experiment

    @cached_property
    def files(self) -> dict[str, dict[str, str]]:
        """Checksums of the files that the experiment stands on, as they are now."""
        return own_files(self.experiment)

    @property
    def is_readable(self) -> bool:
        """Whether rounds are done and what they were made with can be read; not of a damaged folder."""
        try:
            return bool(self.has_rounds and self.spec)
        except RunError:
            return False

    def stale(self) -> list[str]:
        """The files that have changed since the run began; none where no round is done."""
        return changed(self.spec["files"], self.files) if self.has_rounds else []

    def discard(self) -> None:
        """Remove the run's files; the lock, which may be held, stays."""
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if path.name.removesuffix(".part") in FILES:
                path.unlink()


def refuse_stale(records: Iterable[Record]) -> None:
    """Raises one `StaleError` naming every run whose files of data or code have changed since it began."""
    found = [(record.folder, names) for record in records if (names := record.stale())]
    if found:
        folders = ", ".join(str(folder) for folder in dict.fromkeys(folder for folder, _ in found))
        files = ", ".join(dict.fromkeys(name for _, names in found for name in names))
        have, them = ("this run was", "it") if len(found) == 1 else ("these runs were", "them")
        again = f"`--fresh` makes {them} again with the new files, another `--runs` keeps both"
        raise StaleError(f"{files} changed since {have} made: {folders}; {again}")


def ended(record: Record) -> Outcome | None:
    """The result of a run; in its place an error where the folder is damaged or files have changed since."""
    try:
        refuse_stale([record])
        return record.result if record.rows() else None
    except RunError as problem:
        return problem


def find_record(run: Path, runs: Path = Path("runs")) -> Record:
    """The record in a run's folder, for looking at it; also by the start of the digest of a run in `runs`."""
    from sparsefed.federation.experiment import Experiment

    run = run if (run / "spec.json").is_file() else _by_digest(run, runs)
    tree = _spec_of(run).get("experiment")
    if not isinstance(tree, dict):
        raise damaged(run / "spec.json", "an experiment")
    try:
        record = Record(run.parent, Experiment(**tree))
    except SpecError as problem:
        raise RunError(f"{run / 'spec.json'}: not an experiment of this version: {problem}") from None
    record.folder = run
    return record


def _by_digest(run: Path, runs: Path) -> Path:
    found = [] if run.is_dir() or len(run.parts) != 1 else sorted(runs.glob(f"**/{run}*/spec.json"))
    if len(found) == 1:
        return found[0].parent
    if found:
        names = ", ".join(str(path.parent) for path in found)
        raise RunError(f"{run}: expected the start of one run's name, found {len(found)}: {names}")
    inside = next(run.glob("*/spec.json"), None)
    other = (
        f"one of the runs in it, such as {inside.parent}" if inside else "a folder that `sparsefed run` made"
    )
    raise RunError(f"{run}: no such run; expected {other}")


def check_rows(path: Path, rows: list[Row], rounds: int) -> None:
    """Raises `RunError` where the rows are not those of rounds 1, 2, …, `rounds`."""
    if [row.get("round") for row in rows] != list(range(1, rounds + 1)):
        raise damaged(path, f"a whole row for each of {amount(rounds, 'round')}")


def damaged(path: Path, expected: str) -> RunError:
    """The error for a file that is not as it was written."""
    return RunError(f"{path}: damaged: expected {expected}; {REMEDY}")


REMEDY = "`--fresh` starts this run over; or move the folder away"


def to_json(value: Row) -> bytes:
    """A file of JSON, sealed."""
    return sealed((json.dumps({"checksum": UNSEALED, **value}, indent=1) + "\n").encode())


def to_line(row: Row) -> bytes:
    """A line of JSON, sealed."""
    return sealed(json.dumps({"checksum": UNSEALED, **row}).encode()) + b"\n"


def _spec_of(folder: Path) -> Row:
    path = folder / "spec.json"
    if not path.exists():
        raise RunError(f"{folder}: half-written, without a spec.json; {REMEDY}")
    raw = path.read_bytes()
    spec = _parsed(path, raw)
    if spec.get("format") != FORMAT:
        found = f"found format {spec.get('format')}, of another version of sparsefed"
        raise RunError(f"{folder}: expected a run of format {FORMAT}, {found}; {REMEDY}")
    return _sealed(path, raw, spec)


def _parsed(path: Path, raw: bytes) -> Row:
    try:
        value = json.loads(raw)
    except ValueError:
        raise damaged(path, "JSON") from None
    if not isinstance(value, dict):
        raise damaged(path, "a JSON object")
    return value


def _sealed(path: Path, raw: bytes, value: Row) -> Row:
    if not intact(raw):
        raise damaged(path, "the content that its checksum is of")
    return {key: item for key, item in value.items() if key != "checksum"}

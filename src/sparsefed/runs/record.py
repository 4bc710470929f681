"""One run = one folder: `spec.json`, `rounds.jsonl`, `state.safetensors` and, at the end, `result.json`."""

import contextlib
import fcntl
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch

from sparsefed.core.errors import RunError, SpecError
from sparsefed.core.files import append_whole, readable_errors, write_atomically
from sparsefed.federation.experiment import Experiment
from sparsefed.federation.round import ServerState
from sparsefed.runs.sources import own_files

__all__ = ["FORMAT", "Record", "Saved", "find_record"]

FORMAT = 1
"""Version of the folder's files; a folder of another version is refused."""

MEMORIES = ("memory", "attacker")
"""The parts of a state that are NamedTuples of tensors."""

Row = dict[str, Any]


class Saved(NamedTuple):
    """A checkpoint: the server, its unattacked twin if there is one, and the rows of the rounds so far."""

    state: ServerState
    twin: ServerState | None
    rows: list[Row]


class Record:
    """The folder of one experiment under `runs`, named by the experiment's digest."""

    def __init__(self, runs: Path, experiment: Experiment) -> None:
        self.experiment = experiment
        self.folder = runs / experiment.digest()
        self._rows_on_disk = 0

    @contextlib.contextmanager
    def opened(self) -> Iterator["Record"]:
        """Create the folder or check that it is this experiment's, and keep other processes out."""
        spec = {
            "format": FORMAT,
            "experiment": self.experiment.to_dict(),
            "files": own_files(self.experiment),
        }
        with readable_errors(self.folder):
            known = self.folder.is_dir() and any(
                path.name not in {"lock", "spec.json.part"} for path in self.folder.iterdir()
            )
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / "lock").open("a")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RunError(f"{self.folder}: in use by another process; wait for it or stop it") from None
            if known:
                self._check_files(_spec_of(self.folder), spec["files"])
            else:
                with readable_errors(self.folder):
                    write_atomically(self.folder / "spec.json", _json(spec))
            yield self

    def _check_files(self, known: Row, files: dict[str, str]) -> None:
        for name, checksum in known.get("files", {}).items():
            if files.get(name) != checksum:
                needed = "the same; move the folder away, or take other --runs, to start with the new one"
                raise RunError(f"{self.folder}: made with another `{name}`: needed: {needed}")

    @property
    def result(self) -> Row | None:
        """The result, if the run has ended."""
        path = self.folder / "result.json"
        if not path.exists():
            return None
        result = _read_json(path)
        if not {"outcome", "environment"} <= result.keys():
            raise _damaged(path, "a whole result")
        return result

    def save(self, saved: Saved) -> None:
        """Write a checkpoint: first the rows, then, by one rename, the state that makes them count."""
        state, twin, rows = saved
        tensors = {**_named(state, "server"), **(_named(twin, "twin") if twin is not None else {})}
        content = safetensors.torch.save(tensors, {"round": str(state.round)})
        with readable_errors(self.folder):
            append_whole(self.folder / "rounds.jsonl", _lines(rows[self._rows_on_disk :]))
            self._rows_on_disk = len(rows)
            write_atomically(self.folder / "state.safetensors", content)

    def load(self, like: ServerState) -> Saved | None:
        """The last checkpoint, shaped as `like`, or None; rows of rounds after it are dropped from disk."""
        path = self.folder / "state.safetensors"
        if not path.exists():
            with readable_errors(self.folder):
                (self.folder / "rounds.jsonl").unlink(missing_ok=True)
            return None
        tensors, round = _read_state(path)
        rows = self.rows()[:round]
        if [row.get("round") for row in rows] != list(range(1, round + 1)):
            raise _damaged(self.folder / "rounds.jsonl", f"a row for each of {round} rounds")
        with readable_errors(self.folder):
            write_atomically(self.folder / "rounds.jsonl", _lines(rows))
        self._rows_on_disk = round
        device = like.params.device
        tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
        twin = _restored(tensors, "twin", round, like, path) if "twin.params" in tensors else None
        return Saved(_restored(tensors, "server", round, like, path), twin, rows)

    def finish(self, result: Row) -> None:
        """Write the result, last of all files."""
        with readable_errors(self.folder):
            write_atomically(self.folder / "result.json", _json(result))

    def rows(self) -> list[Row]:
        """The rows on disk; a torn last line does not count."""
        path = self.folder / "rounds.jsonl"
        rows = []
        for line in path.read_bytes().splitlines() if path.exists() else []:
            try:
                row = json.loads(line)
            except ValueError:
                break
            if not isinstance(row, dict):
                raise _damaged(path, "a JSON object in each line")
            rows.append(row)
        return rows


def find_record(run: Path) -> Record:
    """The record in a run's folder, for looking at it."""
    if not (run / "spec.json").is_file():
        inside = next(run.glob("*/spec.json"), None)
        other = (
            f"one of the runs in it, such as {inside.parent}"
            if inside
            else "a folder that `sparsefed run` made"
        )
        raise RunError(f"{run}: no such run; needed: {other}")
    tree = _spec_of(run).get("experiment")
    if not isinstance(tree, dict):
        raise _damaged(run / "spec.json", "an experiment")
    try:
        experiment = Experiment(**tree)
    except SpecError as problem:
        raise RunError(f"{run / 'spec.json'}: not an experiment of this version: {problem}") from None
    record = Record(run.parent, experiment)
    record.folder = run
    return record


def _spec_of(folder: Path) -> Row:
    """What `spec.json` holds, checked to be of this version."""
    path = folder / "spec.json"
    if not path.exists():
        raise RunError(f"{folder}: half-written: no spec.json; move the folder away to start this run afresh")
    spec = _read_json(path)
    if spec.get("format") != FORMAT:
        needed = f"this sparsefed reads {FORMAT}; move the folder away to start afresh"
        raise RunError(f"{folder}: a run of format {spec.get('format')}, {needed}")
    return spec


def _named(state: ServerState, prefix: str) -> dict[str, torch.Tensor]:
    named = {f"{prefix}.params": state.params, f"{prefix}.clip": state.clip}
    for part in MEMORIES:
        named |= {f"{prefix}.{part}.{name}": value for name, value in getattr(state, part)._asdict().items()}
    return {name: tensor.detach().contiguous() for name, tensor in named.items()}


def _restored(
    tensors: dict[str, torch.Tensor], prefix: str, round: int, like: ServerState, path: Path
) -> ServerState:
    def tensor(name: str, shape_of: torch.Tensor) -> torch.Tensor:
        found = tensors.get(f"{prefix}.{name}")
        if found is None or found.shape != shape_of.shape or found.dtype != shape_of.dtype:
            raise _damaged(path, f"a tensor {prefix}.{name} of shape {list(shape_of.shape)}")
        return found

    def memory(part: str) -> Any:
        empty = getattr(like, part)
        return type(empty)(**{n: tensor(f"{part}.{n}", value) for n, value in empty._asdict().items()})

    params, clip = tensor("params", like.params), tensor("clip", like.clip)
    return ServerState(round, params, clip=clip, **{part: memory(part) for part in MEMORIES})


def _read_state(path: Path) -> tuple[dict[str, torch.Tensor], int]:
    try:
        with safetensors.safe_open(path, "pt") as file:
            round = int((file.metadata() or {})["round"])
            return {name: file.get_tensor(name) for name in file.keys()}, round  # noqa: SIM118
    except (safetensors.SafetensorError, KeyError, ValueError, struct.error):
        raise _damaged(path, "a whole checkpoint") from None


def _read_json(path: Path) -> Row:
    try:
        value = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        raise _damaged(path, "JSON") from None
    if not isinstance(value, dict):
        raise _damaged(path, "a JSON object")
    return value


def _damaged(path: Path, needed: str) -> RunError:
    return RunError(f"{path}: damaged: {needed} needed; move the folder away to start this run afresh")


def _lines(rows: list[Row]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _json(value: Row) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()

"""A run as it is written down: opened once, then handed a row and a state for every round, like a file."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from sparsefed.core.errors import RunError
from sparsefed.core.files import append_whole, readable_errors, write_atomically
from sparsefed.core.types import Vector
from sparsefed.federation.experiment import Experiment
from sparsefed.federation.round import Federation, ServerState
from sparsefed.runs.record import (
    FORMAT,
    Record,
    Row,
    check_rows,
    refuse_stale,
    to_json,
    to_line,
)
from sparsefed.runs.states import named, packed, restored, unpacked

__all__ = ["Journal", "Saved", "final_params", "opened"]

SECONDS_BETWEEN_CHECKPOINTS = 10.0


class Saved(NamedTuple):
    """A checkpoint: the server, its unattacked twin if there is one, and the rows of the rounds so far."""

    state: ServerState
    twin: ServerState | None
    rows: list[Row]


class Journal:
    """A run that is kept nowhere."""

    result: Row | None = None
    """The result, once the run has ended."""

    def begin(self, start: Saved) -> Saved:
        """Where to go on: the last checkpoint if there is one, else `start`."""
        return start

    def write(self, saved: Saved) -> None:
        """Take the state after a round, and a list of rows that has grown by one."""

    def finish(self, result: Row) -> None:
        """Take the result, last of all."""
        self.result = result


@contextmanager
def opened(experiment: Experiment, runs: Path | str | None, fresh: bool = False) -> Iterator[Journal]:
    """The journal of an experiment in the folder `runs`, or of one that is kept nowhere.

    What was computed is on disk when it is closed, whatever closes it. Raises `RunError` where the run's
    folder cannot be used: damaged, of another version, or made with other files. With `fresh` it is then
    started over.
    """
    if runs is None:
        yield Journal()
        return
    journal = _Folder(Record(Path(runs), experiment))
    try:
        journal.check(fresh)
        yield journal
    finally:
        journal.close()


def final_params(fed: Federation, runs: Path) -> Vector:
    """θ after the last round that was done of a federation's run in the folder `runs`."""
    with opened(fed.spec, runs) as journal:
        return journal.begin(Saved(fed.initial_state, None, [])).state.params


class _Folder(Journal):
    """A run that is kept in its folder."""

    def __init__(self, record: Record) -> None:
        self.record, self.folder = record, record.folder
        self._lock: TextIOWrapper | None = None
        self._latest: Saved | None = None
        self._rows_on_disk, self._round_on_disk = 0, 0
        self._last_save = float("-inf")  # the first round is saved: a bad disk shows at once

    def check(self, fresh: bool) -> None:
        """Look at what is there before anything is computed."""
        if not self.folder.is_dir():
            return
        self._hold()
        try:
            if self.record.has_rounds:
                refuse_stale([self.record])
                self.result = self.record.result
                if fresh:  # else what is damaged is met, and told, when it is needed
                    self._load()
        except RunError:
            if not fresh:
                raise
            self.record.discard()

    def begin(self, start: Saved) -> Saved:
        with readable_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        self._hold()
        state, rows = self.folder / "state.safetensors", self.folder / "rounds.jsonl"
        spec = {
            "format": FORMAT,
            "experiment": self.record.experiment.to_dict(),
            "files": self.record.files,
        }
        if not state.exists():
            with readable_errors(self.folder):
                rows.unlink(missing_ok=True)
                write_atomically(self.folder / "spec.json", to_json(spec))
            return start
        tensors, known = self._load()
        round = len(known)
        with readable_errors(self.folder):
            write_atomically(rows, b"".join(map(to_line, known)))
        self._rows_on_disk = self._round_on_disk = round
        twin = None if start.twin is None else restored(tensors, start.twin, "twin", state)
        return Saved(restored(tensors, start.state, "server", state), twin, known)

    def write(self, saved: Saved) -> None:
        self._latest = saved._replace(rows=list(saved.rows[self._rows_on_disk :]))
        if time.monotonic() - self._last_save > SECONDS_BETWEEN_CHECKPOINTS:
            self._save()

    def finish(self, result: Row) -> None:
        self._save()
        with readable_errors(self.folder):
            write_atomically(self.folder / "result.json", to_json(result))
        self.result = result

    def close(self) -> None:
        """Write what is not yet on disk; a folder in which no round was saved is removed."""
        if self._lock is None:
            return
        try:
            self._save()
            if not self.record.has_rounds:
                self.record.discard()
                with suppress(OSError):
                    (self.folder / "lock").unlink()
                    self.folder.rmdir()
        finally:
            self._lock.close()

    def _load(self) -> tuple[dict[str, Tensor], list[Row]]:
        """The tensors of the last checkpoint, and the rows that count."""
        tensors = unpacked(self.folder / "state.safetensors")
        round = int(tensors["round"])
        known = self.record.rows()[:round]
        check_rows(self.folder / "rounds.jsonl", known, round)
        return tensors, known

    def _save(self) -> None:
        """First the rows, then, by one rename, the state that makes them count."""
        if self._latest is None or self._latest.state.round == self._round_on_disk:
            return
        state, twin, rows = self._latest
        tensors = {"round": torch.tensor(state.round), **named(state, "server")}
        content = packed(tensors | ({} if twin is None else named(twin, "twin")))
        with readable_errors(self.folder):
            append_whole(self.folder / "rounds.jsonl", b"".join(map(to_line, rows)))
            self._rows_on_disk += len(rows)
            self._latest = self._latest._replace(rows=[])
            write_atomically(self.folder / "state.safetensors", content)
        self._round_on_disk = state.round
        self._last_save = time.monotonic()

    def _hold(self) -> None:
        """Keep other processes out of the folder."""
        if self._lock is not None:
            return
        with readable_errors(self.folder):
            lock = (self.folder / "lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise RunError(f"{self.folder}: already in use by another run; wait for it or stop it") from None
        if os.fstat(lock.fileno()).st_nlink == 0:  # whoever held it has just removed the folder
            lock.close()
            raise RunError(f"{self.folder}: was in use by another process until now; try again")
        self._lock = lock

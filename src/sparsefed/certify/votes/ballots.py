"""All votes of an ensemble: groups trained batch by batch, and kept so that a stopped training goes on."""

import hashlib
import io
import json
import zlib
from collections.abc import Generator, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from sparsefed.certify.votes.trainers import Opinions, Trainer
from sparsefed.core.errors import RunError
from sparsefed.core.files import readable_errors, write_atomically
from sparsefed.core.types import ClientIds
from sparsefed.federation.round import Federation
from sparsefed.runs.sources import own_files

__all__ = ["cast"]


class _Box:
    """The votes so far: in memory, or also in a file."""

    def __init__(self, file: Path | None) -> None:
        self.file, self.parts = file, list[Opinions]()
        if file is not None and file.exists():
            self.parts = [_read(file)]

    @property
    def groups(self) -> int:
        return sum(len(part.votes) for part in self.parts)

    def all(self) -> Opinions:
        costs = [part.costs for part in self.parts if part.costs is not None]
        votes = np.concatenate([part.votes for part in self.parts])
        return Opinions(votes, np.concatenate(costs) if costs else None)

    def add(self, part: Opinions) -> None:
        self.parts = [*self.parts, part]
        if self.file is None:
            return
        whole = self.all()
        self.parts = [whole]
        buffer = io.BytesIO()
        if whole.costs is None:
            np.savez(buffer, votes=whole.votes)
        else:
            np.savez(buffer, votes=whole.votes, costs=whole.costs)
        with readable_errors(self.file):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.file, buffer.getvalue())


def cast(
    fed: Federation, trainer: Trainer, groups: Sequence[ClientIds], folder: Path | None = None
) -> Generator[int, None, Opinions]:
    """Train all groups and return their `Opinions`; yields how many groups are done.

    With a folder, every batch is saved there, under a name that follows from the experiment, its files, the
    trainer and the groups; what is saved is not trained again. Raises RunError where the file is damaged.
    """
    trainer.check(fed)
    box = _Box(None if folder is None else folder / f"votes-{_name(fed, trainer, groups)}.npz")
    size = trainer.at_once(fed, max(map(len, groups)))
    kind = np.min_scalar_type(fed.dataset.classes - 1)
    while (done := box.groups) < len(groups):
        found = trainer.opinions(fed, groups[done : done + size])
        box.add(found._replace(votes=found.votes.astype(kind)))
        yield box.groups
    return box.all()


def _name(fed: Federation, trainer: Trainer, groups: Sequence[ClientIds]) -> str:
    said = [fed.spec.to_dict(), own_files(fed.spec), trainer.to_dict(), own_files(trainer)]
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for group in groups:
        digest.update(np.int64(len(group)).tobytes() + group.astype(np.int64).tobytes())
    return digest.hexdigest()[:16]


def _read(file: Path) -> Opinions:
    try:
        with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as kept:
            return Opinions(kept["votes"], kept.get("costs"))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as problem:
        expected = "delete it to start over; expected the votes of an ensemble"
        raise RunError(
            f"{file}: {expected}, found a damaged file ({problem}); delete it to start over"
        ) from None

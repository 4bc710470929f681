"""A server's state and its file: whatever stops the server, the next one resumes after the last round."""

import fcntl
import json
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from sparsefed.core.errors import RunError, SpecError
from sparsefed.core.files import readable_errors, write_atomically
from sparsefed.core.text import named_type
from sparsefed.runs.states import named, packed, restored, unpacked
from sparsefed.server.layout import Layout
from sparsefed.server.rules import Round, Rules, Upload

__all__ = ["Keeper"]


class Keeper:
    """Holds the state of a running server. After a round it is on disk before anyone is told of the round.

    In a `with` statement, the checkpoint is free for another process at the end.
    """

    def __init__(
        self, rules: Rules, arrays: Mapping[str, np.ndarray | Tensor], checkpoint: Path | str | None = None
    ) -> None:
        """Start from the model `arrays`, or resume from `checkpoint` where that file exists.

        `arrays` are NumPy arrays or tensors by name, such as a module's `state_dict()`. Raises `RunError`
        where the file is another server's, damaged, or already in use.
        """
        if not isinstance(rules, Rules):
            raise SpecError(f"rules: expected `Rules(defense=…, clip=…)`, found {named_type(rules)}")
        self.rules, self.layout = rules, Layout.of(arrays)
        self.initial = self.layout.vector(arrays)
        self.state = rules.begin(self.initial)
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        if self.checkpoint is not None:
            self._lock = _held(self.checkpoint)
            try:
                if self.checkpoint.exists():
                    self._load(self.checkpoint)
            except RunError:
                self.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def round(self) -> int:
        """How many rounds are done."""
        return self.state.round

    def arrays(self) -> dict[str, np.ndarray]:
        """The model by names: views of the state, to be read."""
        return self.layout.arrays(self.state.params)

    def step(self, uploads: Sequence[Upload]) -> Round:
        """One round with what the nodes have sent, in the order of `uploads`, which decides the last bits."""
        if self.checkpoint is not None and self._lock.closed:
            raise RunError(f"{self.checkpoint}: expected an open `Keeper`, found a closed one")
        state, report = self.rules.step(self.state, self.initial, uploads, self.layout)
        if self.checkpoint is not None:
            tensors = {"round": torch.tensor(state.round), "made_for": self._made_for()}
            tensors |= {"initial": self.initial.clone(), **named(state, "server")}
            with readable_errors(self.checkpoint):
                write_atomically(self.checkpoint, packed(tensors))
        self.state = state
        return report

    def close(self) -> None:
        """Let another process use the checkpoint."""
        if self.checkpoint is not None:
            self._lock.close()

    def _load(self, path: Path) -> None:
        try:
            tensors = unpacked(path)
            found, expected = (json.loads(bytes(text)) for text in (tensors["made_for"], self._made_for()))
            if found != expected:
                raise RunError(f"{path}: made for another server: {_difference(found, expected)}")
            state = restored(tensors, self.state, "server", path)
        except RunError as problem:
            why = str(problem).partition("; ")[0]
            raise RunError(f"{why}; move the file away to start over") from None
        self.state, self.initial = state, tensors["initial"]

    def _made_for(self) -> Tensor:
        """What a server must share with the one that wrote the checkpoint, as text."""
        rules = {key: value for key, value in self.rules.to_dict().items() if key not in ("rounds", "least")}
        arrays = {name: list(shape) for name, shape in self.layout.shapes.items()}
        text = json.dumps({**rules, "arrays": arrays, "dtype": self.layout.dtype.name})
        return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)


def _difference(found: dict[str, Any], expected: dict[str, Any]) -> str:
    """The first key that two servers do not share, and within it what differs."""
    key = next(key for key in {**expected, **found} if found.get(key) != expected.get(key))
    wanted, there = expected.get(key), found.get(key)
    if isinstance(wanted, dict) and isinstance(there, dict):
        if wanted.get("type") == there.get("type"):
            return _difference(
                {f"{key}.{name}": part for name, part in there.items()},
                {f"{key}.{name}": part for name, part in wanted.items()},
            )
        wanted, there = wanted.get("type"), there.get("type")
    wanted, there = ("none" if part is None else part for part in (wanted, there))
    return f"expected {key} = {wanted}, found {there}"


def _held(checkpoint: Path) -> TextIOWrapper:
    """Keep other processes away from a checkpoint for as long as this one lives."""
    path = checkpoint.with_name(checkpoint.name + ".lock")
    with readable_errors(checkpoint):
        lock = path.open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise RunError(
            f"{checkpoint}: already in use by another Keeper; close it or stop its process"
        ) from None
    return lock

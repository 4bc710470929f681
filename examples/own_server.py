"""A server of your own, without PyTorch: names, example counts, a report for each client, a state on disk.

    python examples/own_server.py server.npz

Run it twice: the second run resumes where the first stopped.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

import sparsefed as sf

RULE = sf.SparseFed(k=30, momentum=0.9)
CLIP = 1.0
SHAPES = [(20, 3), (3,)]
"""The model's layers; between server and rule it is one vector."""

SIZE = sum(int(np.prod(shape)) for shape in SHAPES)


def layers_of(params: np.ndarray) -> list[np.ndarray]:
    """The vector cut into layers, for the clients."""
    ends = np.cumsum([np.prod(shape) for shape in SHAPES])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(params, ends), SHAPES, strict=True)]


def receive(params: np.ndarray, round: int) -> dict[str, tuple[Any, int]]:
    """What a transport of your own delivers: by client, its update θ − θᵢ in layers and its example count."""
    draw = np.random.default_rng(round)
    received: dict[str, tuple[Any, int]] = {}
    for name in ("ann", "bob", "cid", "dee"):
        received[name] = ([0.1 * draw.normal(size=layer.shape) for layer in layers_of(params)], 50)
    received["eve"] = ([1e30 * np.ones(shape) for shape in SHAPES], 50)  # far too long: shortened
    received["nan"] = ([np.full(shape, np.nan) for shape in SHAPES], 50)  # not finite: left out
    received["old"] = ([np.zeros((20, 2)), np.zeros(2)], 50)  # another model: left out
    return received


def play(file: Path, rounds: int = 3) -> np.ndarray:
    """Some rounds, from where the file stopped; the model and the rule's memory are saved after each."""
    params, state, done = np.zeros(SIZE), RULE.init(np.zeros(SIZE)), 0
    if file.exists():
        saved = dict(np.load(file))
        params, done = saved.pop("params"), int(saved.pop("done"))
        state = RULE.load_state(saved, params)  # names, shapes and types are checked
    for round in range(done + 1, done + rounds + 1):
        received = receive(params, round)
        updates = sf.dense(
            [update for update, _ in received.values()],
            weights=[min(examples, 100) for _, examples in received.values()],  # a client can lie
            clients=list(received),
            like=layers_of(params),  # the server knows its model: no majority of clients decides
        ).admitted(CLIP)
        try:
            delta, state = RULE.step(updates, state)
        except sf.UpdateError as problem:  # too few are left: keep the model, say so
            print(f"round {round} skipped: {problem}")
            continue
        params = params - delta
        print(f"round {round}")
        for line in updates.report(RULE.shares(updates)):
            print(" ", line)
        save(file, params, round, state)
    return params


def save(file: Path, params: np.ndarray, done: int, state: Any) -> None:
    """Whole or not at all: a stop in between leaves the file of the round before."""
    part = file.with_suffix(".part")
    with part.open("wb") as open_file:
        np.savez(open_file, params=params, done=done, **state._asdict())
    part.replace(file)


if __name__ == "__main__":
    play(Path(sys.argv[1] if len(sys.argv) > 1 else "server.npz"))

"""Randomness as a function of (seed, stream, path): no hidden state, so resuming and replaying are exact.

`path` is whatever distinguishes one draw from another inside a stream, usually the round, or the
round and the client. Two different tuples of one length give independent generators (NumPy's
`SeedSequence`, which fills short ones up with zeros: a stream has paths of one length).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import numpy as np
import torch

__all__ = ["Stream", "rng", "seeded", "torch_generator"]


class Stream(IntEnum):
    """What a random draw is for. Values are part of the file format: never renumber, only add."""

    MODEL = 1
    PARTITION = 2
    COHORT = 3
    AUGMENT = 4
    LOCAL = 5
    COMPROMISED = 6
    OBJECTIVE = 7
    ATTACK = 8
    SERVER = 9
    DATA = 10
    PROBE = 11


def rng(seed: int, stream: Stream, *path: int) -> np.random.Generator:
    """The NumPy generator of (seed, stream, path)."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, int(stream), *path))))


def torch_generator(
    seed: int, stream: Stream, *path: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """The PyTorch generator of (seed, stream, path) on `device`."""
    state = np.random.SeedSequence((seed, int(stream), *path)).generate_state(1, np.uint64)[0]
    return torch.Generator(device=device).manual_seed(int(state >> np.uint64(1)))


@contextmanager
def seeded(seed: int, stream: Stream, *path: int) -> Iterator[None]:
    """PyTorch's global generators seeded with (seed, stream, path) inside, and as before afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(torch_generator(seed, stream, *path).initial_seed())
        yield

"""Randomness as a function of (seed, stream, path): no hidden state, so resuming and replaying are exact.

`path` is whatever distinguishes one draw from another inside a stream, usually the round, or the
round and the client. Two different tuples of one length give independent generators (NumPy's
`SeedSequence`, which fills short ones up with zeros: a stream has paths of one length).

The project draws from generators of its own. Code of others (a module's forward pass, a user's rule)
draws from the global generators of PyTorch, NumPy and Python, which all threads of a process share.
`seeded` sets them, keeps the other threads of this package out, and puts everything back.
"""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from threading import RLock

import numpy as np
import torch

__all__ = ["Stream", "kept", "reseed", "rng", "seeded", "still", "torch_generator", "watched"]


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
    ROUND = 12
    TRAINING = 13
    CRAFTING = 14
    EVALUATION = 15
    FEATURES = 16
    GROUPS = 17
    SERVER_DATA = 18


def rng(seed: int, stream: Stream, *path: int) -> np.random.Generator:
    """The NumPy generator of (seed, stream, path)."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, int(stream), *path))))


def torch_generator(
    seed: int, stream: Stream, *path: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """The PyTorch generator of (seed, stream, path) on `device`."""
    return torch.Generator(device=device).manual_seed(_number(seed, stream, *path))


@contextmanager
def seeded(seed: int, stream: Stream, *path: int) -> Iterator[None]:
    """The global generators seeded with (seed, stream, path) inside, and as before afterwards."""
    with kept():
        reseed(seed, stream, *path)
        yield


@contextmanager
def watched() -> Iterator[Callable[[], bool]]:
    """Gives a function that tells whether the code inside has drawn from a global generator."""
    with kept():
        _seed_all(0)
        yield _moved


@contextmanager
def still() -> Iterator[Callable[[], bool]]:
    """As `watched`, in a tenth of the time, for PyTorch's generators only; they are put back, too."""
    with _Shared.lock:
        before = [(generator, generator.get_state()) for generator in _torch_generators()]
        try:
            yield lambda: any(not torch.equal(generator.get_state(), state) for generator, state in before)
        finally:
            for generator, state in before:
                generator.set_state(state)


def reseed(seed: int, stream: Stream, *path: int) -> None:
    """Seed the global generators with (seed, stream, path); only inside `kept`."""
    _seed_all(_number(seed, stream, *path))


@contextmanager
def kept() -> Iterator[None]:
    """The global generators are left as they were, and no other thread of this package uses them.

    Threads of the caller's own that draw from them at the same time are not kept out.
    """
    with _Shared.lock:
        of_torch = [(generator, generator.get_state()) for generator in _torch_generators()]
        of_python, of_numpy = random.getstate(), np.random.get_bit_generator()  # pyright: ignore
        # NumPy takes longer to copy a generator's state than a small round lasts: exchange the generator
        spare = _Shared.spares.pop() if _Shared.spares else np.random.MT19937(0)
        np.random.set_bit_generator(spare)  # pyright: ignore
        try:
            yield
        finally:
            np.random.set_bit_generator(of_numpy)  # pyright: ignore
            _Shared.spares.append(spare)
            random.setstate(of_python)
            for generator, state in of_torch:
                generator.set_state(state)


class _Shared:
    """What all threads of the process share."""

    lock = RLock()
    spares: list[np.random.MT19937] = []  # noqa: RUF012


def _free() -> None:
    """In a forked child: the thread that held the lock is not there."""
    _Shared.lock = RLock()


os.register_at_fork(after_in_child=_free)


def _number(seed: int, stream: Stream, *path: int) -> int:
    state = np.random.SeedSequence((seed, int(stream), *path)).generate_state(1, np.uint64)[0]
    return int(state >> np.uint64(1))


def _torch_generators() -> list[torch.Generator]:
    """PyTorch's generator of the CPU, and those of the GPUs that are in use."""
    on_gpus = torch.cuda.default_generators if torch.cuda.is_initialized() else ()
    return [torch.default_generator, *on_gpus]


def _seed_all(number: int) -> None:
    for generator in _torch_generators():
        generator.manual_seed(number)
    np.random.seed(number % 2**32)  # noqa: NPY002
    random.seed(number)


def _moved() -> bool:
    """Whether any generator gives another number than right after `_seed_all(0)`, where it is put back."""
    on_gpus = any(generator.get_offset() for generator in _torch_generators()[1:])
    if on_gpus or _next_numbers() != _FIRST:
        return True
    _seed_all(0)
    return False


def _next_numbers() -> tuple[float, float, float]:
    """One number of each generator of the CPU."""
    of_torch = torch.rand((), generator=torch.default_generator, dtype=torch.float64, device="cpu")
    return float(of_torch), np.random.random_sample(), random.random()  # noqa: NPY002


with kept():
    _seed_all(0)
    _FIRST = _next_numbers()

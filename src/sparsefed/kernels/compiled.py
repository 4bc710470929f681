"""When a tensor goes to a compiled CPU kernel, and with how many threads.

The kernels are numba functions: nothing is compiled on import, the first use of each compiles it for
float32 or float64 and keeps the machine code on disk, apart for every state of these sources: numba itself
would look at the function's own file only, and go on using code that was built with an old constant or
instruction of another. Where numba finds OpenMP it shares PyTorch's own
copy of the runtime, so the two never compete for the cores. One kernel runs at a time: numba's fallback
layer cannot be entered from two threads. A forked process computes with one thread, and where nothing can be
written nothing is kept.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, cached_property, partial
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import Any

import numba
import torch
from platformdirs import user_cache_dir
from torch import Tensor

__all__ = ["kernel", "kernels_on", "runs_compiled", "sources_digest", "threads"]

_PER_THREAD = 1 << 15


def sources_digest(folder: Path) -> str:
    """A name for what the Python files of a folder say."""
    files = sorted(folder.glob("*.py"))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]


_SOURCES = Path(__file__).parent
_DIGEST = sources_digest(_SOURCES)


def kernel(parallel: bool = False) -> Callable[[Callable], Any]:
    """Decorate a function that numba compiles, without the interpreter's lock, and keeps on disk."""
    return _Parallel if parallel else partial(_compiled, parallel=False)


class _Parallel:
    """A kernel on several threads; in a forked process, which OpenMP would end, on one."""

    def __init__(self, function: Callable) -> None:
        self.py_func = function
        self._on_many = _compiled(function, parallel=True)

    @cached_property
    def _on_one(self) -> Any:
        return _compiled(self.py_func, parallel=False, apart="one_thread")

    def __call__(self, *arguments: Any) -> Any:
        return (self._on_one if _Process.forked else self._on_many)(*arguments)


class _Process:
    """What a forked process must know."""

    forked = False
    """Whether this process was forked from one that had imported this module."""
    one_at_a_time = Lock()


def _begin_anew() -> None:
    """In a forked process: the threads of its parent, which may have held the lock, are not there.

    Nor are those of OpenMP, for which PyTorch would wait for ever.
    """
    _Process.forked, _Process.one_at_a_time = True, Lock()
    torch.set_num_threads(1)


os.register_at_fork(after_in_child=_begin_anew)


def _compiled(function: Callable, parallel: bool, apart: str = "") -> Any:
    folder = _cache_folder()
    before: str = numba.config.CACHE_DIR  # pyright: ignore[reportAttributeAccessIssue]
    numba.config.CACHE_DIR = str((folder or Path()) / _DIGEST / apart)  # pyright: ignore
    try:
        return numba.njit(cache=folder is not None, nogil=True, parallel=parallel)(function)
    finally:
        numba.config.CACHE_DIR = before  # pyright: ignore[reportAttributeAccessIssue]


@cache
def _cache_folder() -> Path | None:
    """Where machine code is kept: where numba is told to, here, or with the user's caches; None: nowhere."""
    given: str = numba.config.CACHE_DIR  # pyright: ignore[reportAttributeAccessIssue]
    beside = Path(given) if given else _SOURCES / "__pycache__"
    for folder in (beside, Path(user_cache_dir("sparsefed")) / "kernels"):
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            TemporaryFile(dir=folder).close()
            return folder
    return None


def runs_compiled(*tensors: Tensor, at_least: int = 0) -> bool:
    """Whether all tensors are contiguous CPU arrays of one compiled type, and worth a compiled call."""
    return all(
        tensor.device.type == "cpu"
        and tensor.dtype == tensors[0].dtype
        and tensor.dtype in (torch.float32, torch.float64)
        and tensor.is_contiguous()
        and tensor.numel() >= at_least
        for tensor in tensors
    )


@contextmanager
def threads(work: int) -> Iterator[int]:
    """Run compiled kernels with as many threads as PyTorch uses; gives that number.

    `work` is about how many numbers are read: few are not worth waking another thread.
    """
    with _Process.one_at_a_time:  # a kernel of another thread changes PyTorch's number while it runs
        torch_threads = torch.get_num_threads()
        most = min(torch_threads, numba.config.NUMBA_NUM_THREADS)  # pyright: ignore
        count = max(1, min(most, work // _PER_THREAD))
        with kernels_on(count):
            yield count


@contextmanager
def kernels_on(count: int) -> Iterator[None]:
    """Inside, compiled kernels have so many threads; free where they have already. Forked, they have one.

    Both libraries share a runtime, whose number of threads numba sets to its own: PyTorch's is kept.
    """
    if _Process.forked:
        yield
        return
    torch_threads, before = torch.get_num_threads(), numba.get_num_threads()
    _set_threads(count, torch_threads)
    try:
        yield
    finally:
        _set_threads(before, torch_threads)


def _set_threads(numba_threads: int, torch_threads: int) -> None:
    """Each call takes as long as a small kernel: only where something changes."""
    if numba.get_num_threads() != numba_threads:
        numba.set_num_threads(numba_threads)
    if torch.get_num_threads() != torch_threads:
        torch.set_num_threads(torch_threads)

"""When a tensor goes to a compiled CPU kernel, and with how many threads.

The kernels are numba functions: nothing is compiled on import, the first use of each compiles it for
float32 or float64 and keeps the machine code on disk, apart for every state of these sources: numba itself
would look at the function's own file only, and go on using code that was built with an old constant or
instruction of another. Where numba finds OpenMP it shares PyTorch's own
copy of the runtime, so the two never compete for the cores. One kernel runs at a time: numba's fallback
layer cannot be entered from two threads.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import numba
import torch
from torch import Tensor

__all__ = ["kernel", "runs_compiled", "sources_digest", "threads"]

_PER_THREAD = 1 << 15
_one_at_a_time = Lock()


def sources_digest(folder: Path) -> str:
    """A name for what the Python files of a folder say."""
    files = sorted(folder.glob("*.py"))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]


_SOURCES = Path(__file__).parent
_DIGEST = sources_digest(_SOURCES)


def kernel(parallel: bool = False) -> Callable[[Callable], Any]:
    """Decorate a function that numba compiles, without the interpreter's lock, and keeps on disk."""

    def decorate(function: Callable) -> Any:
        before: str = numba.config.CACHE_DIR  # pyright: ignore[reportAttributeAccessIssue]
        numba.config.CACHE_DIR = str(Path(before or _SOURCES / "__pycache__") / _DIGEST)  # pyright: ignore
        try:
            return numba.njit(cache=True, nogil=True, parallel=parallel)(function)
        finally:
            numba.config.CACHE_DIR = before  # pyright: ignore[reportAttributeAccessIssue]

    return decorate


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
    with _one_at_a_time:  # a kernel of another thread changes PyTorch's number while it runs
        torch_threads = torch.get_num_threads()
        most = min(torch_threads, numba.config.NUMBA_NUM_THREADS)  # pyright: ignore
        count = max(1, min(most, work // _PER_THREAD))
        before = numba.get_num_threads()
        numba.set_num_threads(count)
        try:
            yield count
        finally:
            numba.set_num_threads(before)
            torch.set_num_threads(torch_threads)  # numba has set the runtime that both share to its own

"""The processes of one run that `torchrun` has started, and what they tell each other.

What is spread over them is cut into a fixed number of blocks, whatever the number of processes: each computes
the blocks that are its own, in the same way as any other process would, and sums over blocks are added in the
blocks' order. So the result is the same, bit for bit, for any number of processes.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from sparsefed.core.errors import RunError, SparseFedError, SpecError
from sparsefed.core.types import Vector

__all__ = ["BLOCKS", "Ranks", "cut", "launched", "told"]

BLOCKS = 8
"""Into how many blocks clients and coordinates are cut; more processes would have nothing to do."""

T = TypeVar("T")


def cut(count: int) -> list[slice]:
    """`BLOCKS` consecutive slices of `count` things; they depend on nothing else."""
    return [slice(count * block // BLOCKS, count * (block + 1) // BLOCKS) for block in range(BLOCKS)]


class Ranks:
    """The place of this process among the others of its run."""

    def __init__(self, rank: int, size: int, store: dist.Store) -> None:
        self.rank, self.size, self.store = rank, size, store

    @property
    def leads(self) -> bool:
        """Whether this process keeps the run's folder and prints."""
        return self.rank == 0

    def blocks(self, rank: int | None = None) -> range:
        """The blocks of this process, or of another."""
        rank = self.rank if rank is None else rank
        return range(BLOCKS * rank // self.size, BLOCKS * (rank + 1) // self.size)

    def gathered(self, parts: Sequence[Tensor], places: Sequence[slice]) -> Tensor:
        """On every process, all blocks one after the other; `parts` are those of this process.

        `places` are where each of all blocks lies along the first dimension.
        """
        whole = parts[0].new_empty(places[-1].stop, *parts[0].shape[1:])
        for block, part in zip(self.blocks(), parts, strict=True):
            whole[places[block]] = part
        for rank in range(self.size):
            mine = self.blocks(rank)
            piece = whole[places[mine[0]].start : places[mine[-1]].stop]
            _talk(lambda piece=piece, rank=rank: dist.broadcast(piece, src=rank))
        return whole

    def by_columns(
        self, rows: Sequence[Tensor], counts: Sequence[int], columns: Sequence[slice]
    ) -> list[Tensor]:
        """From blocks of rows to blocks of columns: of each column block of this process, all rows.

        `rows` are the row blocks of this process, `counts` says how many rows each of all row blocks has. No
        process ever holds more than its own rows and its own columns.
        """
        own = torch.cat(list(rows))
        sent = torch.cat([own[:, columns[c]].flatten() for rank in self._everyone for c in self.blocks(rank)])
        widths = [sum(columns[c].stop - columns[c].start for c in self.blocks(r)) for r in self._everyone]
        heights = [sum(counts[b] for b in self.blocks(rank)) for rank in self._everyone]
        sizes = [height * widths[self.rank] for height in heights]
        received = own.new_empty(sum(sizes))
        out = [len(own) * width for width in widths]
        _talk(lambda: dist.all_to_all_single(received, sent, sizes, out))
        found: list[list[Tensor]] = [[] for _ in self.blocks()]
        for height, piece in zip(heights, received.split(sizes), strict=True):
            start = 0
            for place, c in enumerate(self.blocks()):
                width = columns[c].stop - columns[c].start
                found[place].append(piece[start : start + height * width].view(height, width))
                start += height * width
        return [torch.cat(pieces) for pieces in found]

    def summed(self, parts: Sequence[Vector]) -> Vector:
        """The sum of a vector of every block, added in the order of the blocks, on every process."""
        columns = cut(len(parts[0]))
        blocks = self.by_columns([part[None] for part in parts], [1] * BLOCKS, columns)
        return self.gathered([in_order(block) for block in blocks], columns)

    def first_to_tell(self) -> bool:
        """Whether no other process has yet said why the run ends."""
        return self.store.compare_set("told", "", str(self.rank)) == str(self.rank).encode()

    @property
    def _everyone(self) -> range:
        return range(self.size)


def in_order(rows: Tensor) -> Tensor:
    """The sum over the first dimension, one after the other: libraries choose an order of their own."""
    total = rows[0].clone()
    for row in rows[1:]:
        total += row
    return total


def told(ranks: Ranks | None, value: T) -> T:
    """The first process's `value`, in every process."""
    if ranks is None:
        return value
    values: list[Any] = [value]
    _talk(lambda: dist.broadcast_object_list(values, src=0))
    return values[0]


@contextmanager
def launched() -> Iterator[Ranks | None]:
    """The processes that `torchrun` has started; None without it. Of all that fail, one says why."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield None
        return
    store, rank, size = next(dist.rendezvous("env://"))
    if size > BLOCKS:
        raise SpecError(f"expected at most {BLOCKS} processes, as many as there are blocks, found {size}")
    dist.init_process_group(_backend(), store=store, rank=rank, world_size=size)
    ranks = Ranks(rank, size, store)
    try:
        yield ranks
    except (SparseFedError, KeyboardInterrupt) as problem:
        if not ranks.first_to_tell():
            raise SystemExit(130 if isinstance(problem, KeyboardInterrupt) else 2) from None
        raise
    dist.destroy_process_group()


def _backend() -> str:
    """Gloo for tensors on CPUs and, where there are GPUs, NCCL for those on this process's own."""
    if not torch.cuda.is_available():
        return "gloo"
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    return "cpu:gloo,cuda:nccl"


def _talk(exchange: Callable[[], Any]) -> None:
    try:
        exchange()
    except RuntimeError:  # gloo's own words name a socket, NCCL's an internal error
        again = "what was saved is untouched; the same command resumes it, also with other processes"
        raise RunError(f"another process of this run has ended; {again}") from None

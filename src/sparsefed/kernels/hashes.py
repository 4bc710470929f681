"""The hashes of a count sketch: a place and 32 signs for every stretch of 32 coordinates, from a key.

Neighbors stay neighbors: coordinate 32·b + i of a vector goes to cell (start(b) + i) mod columns. Any two
coordinates of different stretches still collide with probability 1/columns, those of one stretch never do,
and every coordinate has its own random sign. So in each row of the table an estimate has the mean of a sketch
that hashes every coordinate by itself, and at most its variance; of the median over rows theory promises no
more than what follows from the rows. One hash and one cache line serve 32 coordinates.

The mixing is SplitMix64 (Steele et al., 2014), unsigned 64-bit arithmetic that wraps around by definition;
the range reduction is a multiplication and a shift (Lemire, 2019), exact for fewer than 2³¹ columns. The
same formulas stand here twice, for compiled code and for PyTorch, and give the same bits.

Vector instructions for a count sketch, in LLVM's own terms: 32 neighbors, each with its own sign.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from torch import Tensor

from sparsefed.kernels.compiled import kernel

__all__ = ["STRETCH", "add_signed", "hash_keys", "load_signed", "mixed", "places_and_signs", "start_of"]


STRETCH = 32
"""How many neighboring coordinates share a hash."""

_STEP, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def hash_keys(seed: int, rows: int) -> np.ndarray:
    """One independent key per row of the table."""
    return np.random.SeedSequence(seed).generate_state(rows, np.uint64)


@kernel()
def mixed(key, stretch):
    """64 random bits: the upper half for the place, the lower half for the signs."""
    bits = key + np.uint64(stretch) * np.uint64(_STEP)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(_FIRST)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(_SECOND)
    return bits ^ (bits >> np.uint64(31))


@kernel()
def start_of(bits, columns):
    """The cell of a stretch's first coordinate."""
    return np.int64((bits >> np.uint64(32)) * np.uint64(columns) >> np.uint64(32))


def places_and_signs(key: int, coordinates: Tensor, columns: int) -> tuple[Tensor, Tensor]:
    """Of any coordinates on any device: their cells, and True where the sign is negative."""
    bits = coordinates // STRETCH * _signed(_STEP) + _signed(key)
    bits = (bits ^ _shifted(bits, 30)) * _signed(_FIRST)
    bits = (bits ^ _shifted(bits, 27)) * _signed(_SECOND)
    bits = bits ^ _shifted(bits, 31)
    lane = coordinates % STRETCH
    cells = ((_shifted(bits, 32) * columns >> 32) + lane) % columns
    return cells, (bits >> lane & 1).bool()


def _shifted(bits: Tensor, by: int) -> Tensor:
    """A right shift that fills with zeros; PyTorch's own fills int64 with the sign."""
    return bits >> by & ((1 << (64 - by)) - 1)


def _signed(number: int) -> int:
    """The int64 of the same bits; PyTorch multiplies int64 modulo 2⁶⁴."""
    return int(np.uint64(number).astype(np.int64))


@intrinsic
def add_signed(typingctx, table, start, values, first, bits):  # noqa: PLR0917
    """`table[start + i] += ±values[first + i]`, minus where bit i is set."""

    def codegen(context, builder, signature, arguments):
        table, start, values, first, bits = arguments
        cells = _address(context, builder, signature.args[0], table, start)
        numbers = _load(builder, _address(context, builder, signature.args[2], values, first))
        total = builder.fadd(_load(builder, cells), _with_signs(builder, numbers, bits))
        _store(builder, total, cells)
        return context.get_dummy_value()

    return types.void(table, types.intp, values, types.intp, types.uint64), codegen


@intrinsic
def load_signed(typingctx, table, start, bits, scratch, a):  # noqa: PLR0917
    """`scratch[a + i] = ±table[start + i]`, minus where bit i is set."""

    def codegen(context, builder, signature, arguments):
        table, start, bits, scratch, a = arguments
        numbers = _load(builder, _address(context, builder, signature.args[0], table, start))
        target = _address(context, builder, signature.args[3], scratch, a)
        _store(builder, _with_signs(builder, numbers, bits), target)
        return context.get_dummy_value()

    return types.void(table, types.intp, types.uint64, scratch, types.intp), codegen


def _address(context: Any, builder: Any, kind: Any, array: Any, start: Any) -> Any:
    vector = ir.VectorType(context.get_value_type(kind.dtype), STRETCH)
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [start]), vector.as_pointer())


def _load(builder: Any, address: Any) -> Any:
    return builder.load(address, align=4)  # at any element


def _store(builder: Any, numbers: Any, address: Any) -> None:
    builder.store(numbers, address, align=4)


def _with_signs(builder: Any, numbers: Any, bits: Any) -> Any:
    lower = builder.trunc(bits, ir.IntType(STRETCH))
    minus = builder.bitcast(lower, ir.VectorType(ir.IntType(1), STRETCH))
    return builder.select(minus, builder.fneg(numbers), numbers)

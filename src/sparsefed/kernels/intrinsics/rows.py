"""Vector instructions on short rows of numbers, written in LLVM's own terms so that none is left to chance.

A row is 256 bytes (64 float32 or 32 float64) at a multiple of 64 bytes in a scratch array: four registers
of the widest kind. Compiled from plain loops, the same work takes two to three times as long.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from sparsefed.kernels.intrinsics.networks import GROUP, batcher

__all__ = ["ALIGNMENT", "ROW_BYTES", "aligned", "average_rows", "exchange", "load_row", "load_sorted"]

ROW_BYTES = 256
ALIGNMENT = 64
"""Bytes: of a cache line, and of the widest register."""


def aligned(count: int, dtype: np.dtype) -> np.ndarray:
    """An uninitialized array whose data start at a multiple of 64 bytes."""
    room = np.empty(count + ALIGNMENT, dtype)
    start = (-room.ctypes.data % ALIGNMENT) // room.itemsize
    return room[start : start + count]


@intrinsic
def exchange(typingctx, scratch, a, b):
    """Smaller numbers to the row at `a`, larger ones to the row at `b`, lane by lane."""

    def codegen(context, builder, signature, arguments):
        at_a = _row_address(context, builder, signature.args[0], arguments[0], arguments[1])
        at_b = _row_address(context, builder, signature.args[0], arguments[0], arguments[2])
        x, y = (builder.load(address, align=ALIGNMENT) for address in (at_a, at_b))
        for number, address in zip(_ordered(builder, x, y), (at_a, at_b), strict=True):
            builder.store(number, address, align=ALIGNMENT)
        return context.get_dummy_value()

    return types.void(scratch, types.intp, types.intp), codegen


@intrinsic
def load_row(typingctx, source, start, factor, scratch, a):  # noqa: PLR0917
    """The row at `a` becomes the numbers from `source[start]` on, times `factor`."""

    def codegen(context, builder, signature, arguments):
        array, start, factor, scratch, a = arguments
        address = _row_address(context, builder, signature.args[0], array, start)
        numbers = builder.load(address, align=signature.args[0].dtype.bitwidth // 8)
        scaled = builder.fmul(numbers, _splat(builder, factor, numbers.type))
        target = _row_address(context, builder, signature.args[3], scratch, a)
        builder.store(scaled, target, align=ALIGNMENT)
        return context.get_dummy_value()

    return types.void(source, types.intp, source.dtype, scratch, types.intp), codegen


@intrinsic
def load_sorted(typingctx, source, starts, factors, first, scratch):  # noqa: PLR0917
    """As `load_row` for rows `first` … `first + GROUP − 1`, which come out sorted lane by lane."""

    def codegen(context, builder, signature, arguments):
        kind = signature.args[0]
        source, starts, factors, first, scratch = arguments
        register = ir.VectorType(_row_type(kind).element, ALIGNMENT * 8 // kind.dtype.bitwidth)
        rows = [builder.add(first, ir.Constant(first.type, i)) for i in range(GROUP)]

        def element(array_kind, array, i):
            return builder.load(
                builder.gep(context.make_array(array_kind)(context, builder, array).data, [i])
            )

        places = [element(signature.args[1], starts, row) for row in rows]
        scales = [_splat(builder, element(signature.args[2], factors, row), register) for row in rows]
        for lane in range(0, ROW_BYTES * 8 // kind.dtype.bitwidth, register.count):
            offset = ir.Constant(first.type, lane)
            wires = []
            for place, scale in zip(places, scales, strict=True):
                address = _address(context, builder, kind, source, builder.add(place, offset), register)
                wires.append(builder.fmul(builder.load(address, align=kind.dtype.bitwidth // 8), scale))
            for a, b in batcher(GROUP):
                wires[a], wires[b] = _ordered(builder, wires[a], wires[b])
            for row, wire in zip(rows, wires, strict=True):
                lanes = ir.Constant(first.type, ROW_BYTES * 8 // kind.dtype.bitwidth)
                place = builder.add(builder.mul(row, lanes), offset)
                target = _address(context, builder, signature.args[4], scratch, place, register)
                builder.store(wire, target, align=ALIGNMENT)
        return context.get_dummy_value()

    return types.void(source, starts, factors, types.intp, scratch), codegen


@intrinsic
def average_rows(typingctx, scratch, first, last, target, start):  # noqa: PLR0917
    """`target[start]` and on become the average of the rows at `first`, …, `last` of the scratch array."""

    def codegen(context, builder, signature, arguments):
        kind, (array, first, last, target, start) = signature.args[0], arguments
        vector, lanes = _row_type(kind), ROW_BYTES * 8 // kind.dtype.bitwidth
        total = cgutils.alloca_once_value(builder, ir.Constant(vector, [0.0] * lanes))
        count = cgutils.alloca_once_value(builder, ir.Constant(vector.element, 0.0))
        beyond, step = (ir.Constant(first.type, number) for number in (1, lanes))
        stop = builder.add(last, beyond)
        with cgutils.for_range_slice(builder, first, stop, step) as (a, _):
            row = builder.load(_row_address(context, builder, kind, array, a), align=ALIGNMENT)
            builder.store(builder.fadd(builder.load(total), row), total)
            one = ir.Constant(vector.element, 1.0)
            builder.store(builder.fadd(builder.load(count), one), count)
        average = builder.fdiv(builder.load(total), _splat(builder, builder.load(count), vector))
        address = _row_address(context, builder, signature.args[3], target, start)
        builder.store(average, address, align=kind.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(scratch, types.intp, types.intp, target, types.intp), codegen


def _row_type(kind: Any) -> Any:
    scalar = ir.FloatType() if kind.dtype == types.float32 else ir.DoubleType()
    return ir.VectorType(scalar, ROW_BYTES * 8 // kind.dtype.bitwidth)


def _row_address(context: Any, builder: Any, kind: Any, array: Any, start: Any) -> Any:
    return _address(context, builder, kind, array, start, _row_type(kind))


def _address(context: Any, builder: Any, kind: Any, array: Any, start: Any, vector: Any) -> Any:  # noqa: PLR0917
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [start]), vector.as_pointer())


def _ordered(builder: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """The smaller and the larger of two vectors' numbers, lane by lane."""
    less = builder.fcmp_ordered("<", x, y)
    return builder.select(less, x, y), builder.select(less, y, x)


def _splat(builder: Any, scalar: Any, vector: Any) -> Any:
    nothing = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, scalar, ir.Constant(ir.IntType(32), 0))
    everywhere = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, nothing, everywhere)

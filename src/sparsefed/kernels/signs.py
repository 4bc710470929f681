"""Vector instructions for a count sketch, in LLVM's own terms: 32 neighbours, each with its own sign."""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from sparsefed.kernels.hashes import STRETCH

__all__ = ["add_signed", "load_signed"]


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

"""The few vector instructions that a plain loop does not compile to, as LLVM gives them on every machine."""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

__all__ = ["LANES", "first_bit", "not_below"]

LANES = 64
"""How many numbers `not_below` looks at: one per bit of its answer."""


@intrinsic
def not_below(typingctx, values, start, threshold):
    """The bits i, of 64, where |values[start + i]| ≥ threshold or is NaN."""
    signature = types.uint64(values, types.intp, values.dtype)

    def codegen(context, builder, signature, arguments):
        scalar = context.get_value_type(signature.args[2])
        vector = ir.VectorType(scalar, LANES)
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [arguments[1]]), vector.as_pointer())
        magnitude = _absolute(builder, builder.load(address, align=signature.args[2].bitwidth // 8))
        found = builder.fcmp_unordered(">=", magnitude, _splat(builder, arguments[2], vector))
        return builder.bitcast(found, ir.IntType(LANES))

    return signature, codegen


@intrinsic
def first_bit(typingctx, bits):
    """The position of the lowest bit that is set; `bits` must not be 0."""

    def codegen(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.intp(types.uint64), codegen


def _absolute(builder: ir.IRBuilder, value: Any) -> Any:
    name = f"llvm.fabs.v{LANES}" + ("f32" if value.type.element == ir.FloatType() else "f64")
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(value.type, [value.type]), name)
    return builder.call(function, [value])


def _splat(builder: ir.IRBuilder, scalar: Any, vector: ir.VectorType) -> Any:
    nothing = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, scalar, ir.Constant(ir.IntType(32), 0))
    everywhere = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, nothing, everywhere)

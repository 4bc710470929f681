"""Sums over columns for four rows against four rows, all sixteen held in vector registers (LLVM's own terms).

Eight loads serve sixteen products, so the arithmetic is the limit and not the cache. Plain loops are not
compiled to this: sixteen sums at once are beyond the compiler's vectoriser.
"""

from itertools import product
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from sparsefed.kernels.intrinsics.rows import ALIGNMENT

__all__ = ["TILE", "difference_tile", "product_tile"]

TILE = 4
"""How many rows a side of a tile has."""


@intrinsic
def product_tile(typingctx, rows, a, b, pitch, sums):  # noqa: PLR0917
    """Adds Σ xᵢ·yⱼ to `sums[4·i + j]`: x are four rows of `pitch` numbers from `rows[a]`, y those from b."""
    return _tile(rows, sums, lambda builder, x, y: builder.fmul(x, y, flags=("contract",)))


@intrinsic
def difference_tile(typingctx, rows, a, b, pitch, sums):  # noqa: PLR0917
    """Adds Σ (xᵢ − yⱼ)² to `sums[4·i + j]`: never negative, and 0 for identical rows."""

    def squared(builder, x, y):
        difference = builder.fsub(x, y)
        return builder.fmul(difference, difference, flags=("contract",))

    return _tile(rows, sums, squared)


def _tile(rows: Any, sums: Any, term: Any) -> Any:
    def codegen(context, builder, signature, arguments):
        kind, (array, a, b, pitch, target) = signature.args[0], arguments
        lanes = ALIGNMENT * 8 // kind.dtype.bitwidth
        vector = ir.VectorType(context.get_value_type(kind.dtype), lanes)
        data = context.make_array(kind)(context, builder, array).data
        zero = ir.Constant(vector, [0.0] * lanes)
        totals = [[cgutils.alloca_once_value(builder, zero) for _ in range(TILE)] for _ in range(TILE)]
        offsets = [builder.mul(pitch, ir.Constant(pitch.type, row)) for row in range(TILE)]

        def load(first, row, column):
            place = builder.add(builder.add(first, offsets[row]), column)
            address = builder.bitcast(builder.gep(data, [place]), vector.as_pointer())
            return builder.load(address, align=ALIGNMENT)

        steps = (ir.Constant(pitch.type, 0), pitch, ir.Constant(pitch.type, lanes))
        with cgutils.for_range_slice(builder, *steps) as (column, _):
            y = [load(b, row, column) for row in range(TILE)]
            for i in range(TILE):
                x = load(a, i, column)
                for total, other in zip(totals[i], y, strict=True):
                    grown = builder.fadd(builder.load(total), term(builder, x, other), flags=("contract",))
                    builder.store(grown, total)
        sums_data = context.make_array(signature.args[4])(context, builder, target).data
        for i, j in product(range(TILE), repeat=2):
            address = builder.gep(sums_data, [ir.Constant(pitch.type, TILE * i + j)])
            lane_sum = _across_lanes(builder, builder.load(totals[i][j]), kind)
            builder.store(builder.fadd(builder.load(address), lane_sum), address)
        return context.get_dummy_value()

    return types.void(rows, types.intp, types.intp, types.intp, sums), codegen


def _across_lanes(builder: Any, vector: Any, kind: Any) -> Any:
    """The sum of the lanes as a float64; the order is the compiler's, and always the same."""
    scalar, width = vector.type.element, kind.dtype.bitwidth
    name = f"llvm.vector.reduce.fadd.v{vector.type.count}f{width}"
    function_type = ir.FunctionType(scalar, [scalar, vector.type])
    function = cgutils.get_or_insert_function(builder.module, function_type, name)
    total = builder.call(function, [ir.Constant(scalar, -0.0), vector], fastmath=("reassoc",))
    return total if width == 64 else builder.fpext(total, ir.DoubleType())

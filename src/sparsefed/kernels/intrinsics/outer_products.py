"""A sum of outer products over the pixels of images, held in vector registers (LLVM's own terms).

With some taps × two vectors of units in registers, every number read serves several products, and the
arithmetic is the limit instead of the memory. Plain loops are not compiled to this.
"""

from typing import Any

from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic

__all__ = ["TAPS", "VECTOR_BYTES", "sum_outer_products"]

VECTOR_BYTES, TAPS = (64, 12) if binding.get_host_cpu_features().get("avx512f", False) else (32, 6)
"""Of 32 registers, 12 × 2 sums leave room for what is read; of 16, 6 × 2."""


@intrinsic(prefer_literal=True)
def sum_outer_products(typingctx, image, start, steps, gradients, unit, out, tap, taps, vectors):  # noqa: PLR0917
    """`out[tap + a, unit + b]` becomes Σₜ image[start + place of t + a] · gradients[t, unit + b].

    t are all pixels of `gradients`, `[images, rows, columns, units]`; `steps` lead from a pixel's place in
    the flat `image` to that in the next image, row and column. a < `taps`, b < `vectors` full vectors;
    both are literals.
    """
    signature = types.void(image, types.intp, steps, gradients, types.intp, out, types.intp, taps, vectors)
    return signature, _generate


def _generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    kinds = signature.args
    image, gradients, out = (context.make_array(kinds[n])(context, builder, arguments[n]) for n in (0, 3, 5))
    start, steps, unit, tap = arguments[1], cgutils.unpack_tuple(builder, arguments[2]), *arguments[4:7:2]
    taps, vectors = (kind.literal_value for kind in kinds[7:])
    images, rows, columns, units = cgutils.unpack_tuple(builder, gradients.shape)
    tile = _Tile(builder, context.get_value_type(kinds[0].dtype), (taps, vectors))
    with cgutils.for_range(builder, images) as i, cgutils.for_range(builder, rows) as r:
        row = _index(builder, start, (i.index, steps[0]), (r.index, steps[1]))
        pixel = builder.mul(_index(builder, r.index, (i.index, rows)), columns)
        with cgutils.for_range(builder, columns) as c:
            place = _index(builder, row, (c.index, steps[2]))
            passing = _index(builder, unit, (builder.add(pixel, c.index), units))
            tile.add(builder.gep(image.data, [place]), builder.gep(gradients.data, [passing]))
    tile.store(builder.gep(out.data, [_index(builder, unit, (tap, units))]), units)
    return context.get_dummy_value()


def _index(builder: Any, start: Any, *terms: tuple[Any, Any]) -> Any:
    """Start + Σ index · step."""
    for index, step in terms:
        start = builder.add(start, builder.mul(index, step))
    return start


class _Tile:
    """taps × vectors sums that LLVM keeps in registers, as none of their addresses is ever taken."""

    def __init__(self, builder: Any, scalar: Any, shape: tuple[int, int]) -> None:
        bits = 32 if scalar == ir.FloatType() else 64
        self.builder, (self.taps, self.vectors) = builder, shape
        self.lanes, self.align = VECTOR_BYTES * 8 // bits, bits // 8
        self.vector = ir.VectorType(scalar, self.lanes)
        zero = ir.Constant(self.vector, [0.0] * self.lanes)
        self.sums = [
            [cgutils.alloca_once(builder, self.vector) for _ in range(shape[1])] for _ in range(shape[0])
        ]
        for total in self._flat():
            builder.store(zero, total)
        name = f"llvm.fma.v{self.lanes}f{bits}"
        self.fma = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(self.vector, [self.vector] * 3), name
        )

    def add(self, pixels: Any, gradients: Any) -> None:
        """Add the outer product of `taps` numbers at `pixels` and the vectors at `gradients`."""
        builder = self.builder
        rows = [builder.load(self._vector_at(gradients, v), align=self.align) for v in range(self.vectors)]
        for tap, totals in enumerate(self.sums):
            number = self._everywhere(builder.load(builder.gep(pixels, [_constant(tap)])))
            for row, total in zip(rows, totals, strict=True):
                builder.store(builder.call(self.fma, [number, row, builder.load(total)]), total)

    def store(self, out: Any, pitch: Any) -> None:
        """Write the sums to `out`, a tap every `pitch` numbers."""
        for tap, totals in enumerate(self.sums):
            line = self.builder.gep(out, [self.builder.mul(pitch, _constant(tap))])
            for v, total in enumerate(totals):
                self.builder.store(self.builder.load(total), self._vector_at(line, v), align=self.align)

    def _flat(self) -> list[Any]:
        return [total for totals in self.sums for total in totals]

    def _vector_at(self, pointer: Any, number: int) -> Any:
        address = self.builder.gep(pointer, [_constant(number * self.lanes)])
        return self.builder.bitcast(address, self.vector.as_pointer())

    def _everywhere(self, scalar: Any) -> Any:
        nothing = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(nothing, scalar, ir.Constant(ir.IntType(32), 0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, nothing, mask)


def _constant(number: int) -> Any:
    return ir.Constant(ir.IntType(64), number)

"""The IDX format of MNIST and its descendants: a magic number, sizes, then one big-endian array."""

from math import prod
from pathlib import Path

import numpy as np

from sparsefed.core.errors import DataError
from sparsefed.data.formats.files import read_bytes

__all__ = ["read_idx"]

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Path, dtype: str, ndim: int) -> np.ndarray:
    """The array in `path`, which must be of `dtype` (NumPy's name, big-endian) and `ndim` axes."""
    raw = read_bytes(path)
    start = 4 + 4 * ndim
    magic = _magic(dtype, ndim)
    if raw[:4] != magic:
        raise DataError(f"{path}: expected magic number {magic.hex()}, found {raw[:4].hex() or 'none'}")
    if len(raw) < start:
        raise DataError(f"{path}: expected a header of {start} bytes, found {len(raw)}")
    shape = tuple(int(side) for side in np.frombuffer(raw, ">u4", ndim, offset=4))
    needed = start + prod(shape) * np.dtype(dtype).itemsize
    if len(raw) != needed:
        sizes = "×".join(str(side) for side in shape)
        raise DataError(f"{path}: expected {needed} bytes for {sizes} values, found {len(raw)}")
    values = np.frombuffer(raw, dtype, offset=start).reshape(shape)
    return values.astype(values.dtype.newbyteorder("="))


def _magic(dtype: str, ndim: int) -> bytes:
    code = next(code for code, name in TYPES.items() if name == dtype)
    return bytes((0, 0, code, ndim))

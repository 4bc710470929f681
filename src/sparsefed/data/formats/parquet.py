"""Pictures in Parquet files as the Hugging Face hub has them: a struct of encoded bytes, and a label."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sparsefed.core.errors import DataError
from sparsefed.data.formats.files import keep, kept

__all__ = ["read_pictures"]

IMAGE_COLUMNS = ("img", "image")


def read_pictures(
    paths: Sequence[Path], label: str, shape: tuple[int, int, int]
) -> tuple[np.ndarray, list[int | None]]:
    """The pixels, uint8 `[n, height, width, channels]`, and the column `label` of the files in order.

    Decoded pixels are kept in the user's cache under the files' checksum: decoding takes seconds.
    """
    labels = [value for path in paths for value in _column(path, label, [label]).to_pylist()]
    key = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in paths)).hexdigest()
    pixels = kept(key)
    if pixels is None or pixels.shape[1:] != shape:
        pixels = np.concatenate([_decoded(path, shape) for path in paths])
        keep(key, pixels)
    return pixels, labels


def _column(path: Path, label: str, names: Sequence[str]):
    import pyarrow as pa
    from pyarrow import parquet

    try:
        schema = parquet.read_schema(path)
        found = [name for name in names if name in schema.names]
        if found:
            return parquet.read_table(path, columns=found[:1]).column(0).combine_chunks()
    except (pa.ArrowException, OSError) as problem:
        raise DataError(f"{path}: expected a Parquet file, found a damaged one ({problem})") from None
    columns = ", ".join(schema.names)
    raise DataError(f"{path}: expected `{' or '.join(IMAGE_COLUMNS)}` and `{label}`, found columns {columns}")


def _decoded(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    column = _column(path, "label", IMAGE_COLUMNS)
    try:
        encoded = column.field("bytes").to_pylist()
    except (AttributeError, KeyError):
        raise DataError(
            f"{path}: expected pictures as a struct with `bytes`, found type {column.type}"
        ) from None
    pixels = np.empty((len(encoded), *shape), np.uint8)
    for row, picture in enumerate(encoded):
        pixels[row] = _picture(picture, shape, f"{path}: row {row}")
    return pixels


def _picture(encoded: bytes | None, shape: tuple[int, int, int], where: str) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        picture = Image.open(io.BytesIO(encoded or b""), formats=("PNG", "JPEG"))
        pixels = np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))
    except UnidentifiedImageError:
        raise DataError(f"{where}: expected a PNG or JPEG picture, found something else") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as problem:
        raise DataError(f"{where}: expected a picture, found a damaged one ({problem})") from None
    if pixels.shape != shape:
        raise DataError(
            f"{where}: expected a picture of {shape} (height, width, channels), found {pixels.shape}"
        )
    return pixels

"""The official CIFAR pickles, read without running anything they contain.

A pickle may name any function and have it called. This reader knows three names, those that NumPy
arrays are written with, and answers each with a function of its own that makes plain numeric arrays.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from sparsefed.core.errors import DataError
from sparsefed.core.text import named_type

__all__ = ["unpickled"]

ARRAY = object()
"""Stands for the class `numpy.ndarray`, which a pickle passes on but has no need to call."""


def unpickled(raw: bytes, path: Path) -> dict[bytes, Any]:
    """The dictionary in the pickle `raw`: numeric arrays, lists, numbers and byte strings, nothing else."""
    try:
        content = _Numbers(io.BytesIO(raw), encoding="bytes").load()
    except _ForbiddenError as problem:
        needed = "expected a pickle of numeric arrays, lists and strings alone"
        raise DataError(f"{path}: {needed}, found a call of `{problem}`; nothing was run") from None
    except Exception as problem:  # a damaged pickle can raise nearly anything
        raise DataError(
            f"{path}: expected the batch as published, found a damaged pickle ({problem})"
        ) from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a pickled dictionary, found {named_type(content)}")
    return content


class _ForbiddenError(Exception):
    pass


class _Numbers(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("numpy", "ndarray"):
            return ARRAY
        if (module, name) == ("numpy", "dtype"):
            return _dtype
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return _empty
        raise _ForbiddenError(f"{module}.{name}")


def _empty(kind: object, shape: object, code: object) -> np.ndarray:
    return np.empty(0, np.uint8)  # the pickle then sets the array's state, which NumPy checks


def _dtype(code: str | bytes, align: object = False, copy: object = True) -> np.dtype:
    dtype = np.dtype(code.decode("ascii") if isinstance(code, bytes) else code)
    if dtype.kind not in "biuf":
        raise _ForbiddenError(f"numpy.dtype({dtype.str})")
    return np.dtype(dtype, copy=True)

"""A model's named arrays as one flat vector, and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsefed.core.errors import SpecError
from sparsefed.core.text import named_type, one_line
from sparsefed.core.types import Vector

__all__ = ["Layout"]


@dataclass(frozen=True)
class Layout:
    """Where each array of a model lies in the vector θ. The server's own model says it, never a node's."""

    shapes: dict[str, tuple[int, ...]]
    """The shape of every array that is trained, in the vector's order."""
    fixed: dict[str, np.ndarray]
    """Arrays of integers, such as a counter of batches: sent as they are, never read from a node."""
    dtype: np.dtype
    """float32 or float64, the type of all trained arrays."""

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray | Tensor]) -> "Layout":
        """The layout of a model; raises `SpecError` where it has arrays that cannot be aggregated."""
        if not isinstance(arrays, Mapping):
            raise SpecError(f"expected arrays by their names, found {named_type(arrays)}")
        arrays = {name: _own_array(name, array) for name, array in arrays.items()}
        floats = {name: array for name, array in arrays.items() if array.dtype.kind not in "iub"}
        types = {array.dtype for array in floats.values()}
        if types not in ({np.dtype(np.float32)}, {np.dtype(np.float64)}):
            found = ", ".join(f"{array.dtype} in `{name}`" for name, array in floats.items()) or "none"
            raise SpecError(f"expected a model of float32 arrays or of float64 arrays, found {found:.200}")
        fixed = {name: array for name, array in arrays.items() if name not in floats}
        return cls({name: array.shape for name, array in floats.items()}, fixed, types.pop())

    @property
    def size(self) -> int:
        """How many numbers the vector has."""
        return sum(self.sizes)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many numbers each trained array has."""
        return tuple(int(np.prod(shape)) for shape in self.shapes.values())

    def vector(self, arrays: Mapping[str, np.ndarray | Tensor]) -> Vector:
        """The model as a vector of its own memory."""
        vector = torch.empty(self.size, dtype=getattr(torch, self.dtype.name))
        if problem := self.read(arrays, vector):
            raise SpecError(problem)
        return vector

    def arrays(self, vector: Vector) -> dict[str, np.ndarray]:
        """The vector as the model's arrays, without a copy: views of its memory."""
        found, start, numbers = {}, 0, vector.numpy()
        for name, shape in self.shapes.items():
            end = start + int(np.prod(shape))
            found[name] = numbers[start:end].reshape(shape)
            start = end
        return {**found, **self.fixed}

    def read(self, arrays: Any, row: Vector) -> str:
        """Copy a node's arrays into `row`, or say in words why they are not this model's.

        Names and shapes must be the model's own. Any floating-point type is converted; a number that does
        not fit becomes infinite, and is dropped with its update.
        """
        if not isinstance(arrays, Mapping):
            return f"expected arrays by their names, found {named_type(arrays)}"
        try:
            problem = self._read(arrays, row)
            return problem and one_line(problem)  # names and types are the node's own words
        except Exception as problem:  # a mapping, or an array, may be anyone's code
            return f"expected arrays that can be read, found some that cannot ({type(problem).__name__})"

    def _read(self, arrays: Mapping[str, Any], row: Vector) -> str:
        expected, names = [*self.shapes, *self.fixed], set(arrays)
        if names != set(expected):
            missing = [name for name in expected if name not in names]
            unknown = sorted(map(one_line, names - set(expected)))
            found = f"without {', '.join(missing)}" if missing else f"{', '.join(unknown)} beside them"
            return f"expected the arrays {', '.join(expected)}, found them {found}"
        for name, place in self.arrays(row).items():
            if name in self.fixed:
                continue
            array = _as_array(arrays[name])
            if not isinstance(array, np.ndarray | np.generic):
                return f"`{name}`: expected an array, found {named_type(array)}"
            if array.dtype.kind != "f":
                return f"`{name}`: expected floats, found {array.dtype}"
            if array.shape != place.shape:
                return f"`{name}`: expected shape {place.shape}, found {array.shape}"
            with np.errstate(over="ignore", invalid="ignore"):
                place[...] = array
        return ""


def _as_array(array: Any) -> Any:
    """A tensor's numbers as an array, in an array's types; anything else as it is."""
    if not isinstance(array, Tensor):
        return array
    array = array.detach().cpu()
    return (array.float() if array.dtype == torch.bfloat16 else array).numpy()


def _own_array(name: str, array: Any) -> np.ndarray:
    """One array of the server's own model."""
    try:
        found = _as_array(array)
    except (TypeError, RuntimeError, NotImplementedError):  # sparse, or without numbers
        found = None
    if isinstance(array, Tensor) and array.dtype == torch.bfloat16:  # which no array has
        raise SpecError(
            f"expected a model of float32 arrays or of float64 arrays, found bfloat16 in `{name}`"
        )
    if not isinstance(found, np.ndarray | np.generic):
        raise SpecError(f"`{name}`: expected an array or a dense tensor, found {named_type(array)}")
    return np.asarray(found)

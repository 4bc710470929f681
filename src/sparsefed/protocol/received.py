"""Reading a round's updates in every usual form: matrices, lists of vectors, lists of layers.

A matrix is the caller's own and is refused as a whole if it is none. In a list every item is a client's: one
that does not fit costs that client its round, never the others theirs.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from sparsefed.core.errors import UpdateError
from sparsefed.core.text import amount, named_type
from sparsefed.core.types import Matrix

__all__ = ["Received", "as_tensor", "read_updates", "shapes_of"]

Shapes: TypeAlias = tuple[tuple[int, ...], ...]
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Received(NamedTuple):
    """The updates that can be used, and why the others cannot."""

    matrix: Matrix
    present: np.ndarray
    """Position in the caller's list of each row."""
    problems: dict[int, str]
    """Position in the caller's list, and what was expected and found there."""

    def without(self, problems: dict[int, str]) -> "Received":
        """The same without some clients, for what is said of them."""
        rows = [row for row, position in enumerate(self.present.tolist()) if position not in problems]
        if len(rows) == len(self.present):
            return self._replace(problems={**self.problems, **problems})
        return Received(self.matrix[rows], self.present[rows], {**self.problems, **problems})


def read_updates(updates: Any, size: int | None, shapes: Shapes | None = None) -> Received:
    """The rows of a matrix, or of a list with a vector or a list of layer arrays for each client.

    `shapes` are those of the server's own model, and `size` is how many parameters it has. Without either,
    what most clients of a list sent is right.
    """
    if isinstance(updates, list | tuple):
        return _read_list(updates, size, shapes)
    matrix = as_tensor(updates)
    if isinstance(matrix, str) or matrix.ndim != 2:
        found = matrix if isinstance(matrix, str) else f"shape {tuple(matrix.shape)}"
        raise UpdateError(
            f"expected a matrix of floats [clients, params] or a list of vectors, found {found}"
        )
    if size is not None and matrix.shape[1] != size:
        raise UpdateError(f"expected updates of {amount(size, 'parameter')}, found {matrix.shape[1]}")
    return Received(matrix, np.arange(len(matrix)), {})


def shapes_of(model: Any) -> Shapes:
    """The shapes of a model that is given as a vector or as a list of its arrays."""
    layers = _layers(model)
    if isinstance(layers, str):
        raise UpdateError(f"`like`: expected the model as a vector or as a list of arrays, found {layers}")
    return _shapes(layers)


def _read_list(updates: Sequence[Any], size: int | None, shapes: Shapes | None) -> Received:
    sent = {position: _layers(update) for position, update in enumerate(updates)}
    problems = {
        position: f"expected floats, found {layers}"
        for position, layers in sent.items()
        if isinstance(layers, str)
    }
    sound = {position: layers for position, layers in sent.items() if not isinstance(layers, str)}
    if shapes is None and size is None:
        if not sound:
            raise UpdateError(
                next(iter(problems.values()), "expected updates or their `size`, found an empty list")
            )
        shapes = Counter(map(_shapes, sound.values())).most_common(1)[0][0]
    vectors = []
    for position, layers in sound.items():
        if _shapes(layers) == shapes or (shapes is None and _numbers(layers) == size):
            vectors.append(torch.cat([layer.flatten().to(layers[0].device) for layer in layers]))
        else:
            right = f"{amount(size or 0, 'number')}" if shapes is None else _shown(shapes)
            problems[position] = f"expected {right}, found {_shown(_shapes(layers))}"
    present = [position for position in sound if position not in problems]
    return Received(_stacked(vectors, size), np.array(present, np.int64), problems)


def _layers(update: Any) -> list[Tensor] | str:
    """A client's arrays, one if it sent a vector, or in words what was found in their place."""
    try:
        if not isinstance(update, list | tuple):
            update = [update]
        elif all(isinstance(number, float | int) for number in update):
            update = [np.array(update, np.float64)]
        layers = [as_tensor(layer) for layer in update]
    except Exception as problem:  # numbers no float holds, or an object that is anyone's code
        return f"{named_type(update)} that is no array ({type(problem).__name__})"
    bad = [layer for layer in layers if isinstance(layer, str)]
    return bad[0] if bad else [layer for layer in layers if isinstance(layer, Tensor)]


def _stacked(vectors: list[Tensor], size: int | None) -> Matrix:
    """One row per vector, in the widest type among them, where the first one is."""
    if not vectors:
        return torch.empty(0, size or 0)
    widest = vectors[0].dtype
    for vector in vectors:
        widest = torch.promote_types(widest, vector.dtype)
    return torch.stack([vector.to(vectors[0].device, widest) for vector in vectors])


def _numbers(layers: list[Tensor]) -> int:
    return sum(layer.numel() for layer in layers)


def _shapes(layers: list[Tensor]) -> Shapes:
    return tuple(tuple(layer.shape) for layer in layers)


def _shown(shapes: Shapes) -> str:
    return f"shape{'s' * (len(shapes) > 1)} {', '.join(map(str, shapes))}"


def as_tensor(array: Any) -> Tensor | str:
    """A plain floating-point tensor of the same numbers, or in words what was found in its place.

    NumPy's memory is shared where PyTorch can; arrays of another byte order, of extended precision or
    read-only ones are copied.
    """
    if isinstance(array, Tensor):
        return array.detach() if _is_plain(array) else _described(array)
    if isinstance(array, str | bytes) or not (hasattr(array, "__array__") or isinstance(array, float | int)):
        return named_type(array)
    try:
        numbers = np.asarray(array)
    except Exception as problem:  # `__array__` is anyone's code
        return f"{named_type(array)} that is no array ({type(problem).__name__})"
    if numbers.dtype.kind != "f" and not isinstance(array, int):
        return f"{numbers.dtype}"[:60]
    if numbers.dtype not in (np.float16, np.float32, np.float64):  # also of another byte order
        with np.errstate(over="ignore"):
            numbers = numbers.astype(np.float32 if numbers.dtype.itemsize == 4 else np.float64)
    return torch.from_numpy(np.require(numbers, requirements=["C", "W"]))


def _is_plain(tensor: Tensor) -> bool:
    plain = tensor.layout == torch.strided and tensor.device.type != "meta" and not tensor.is_nested
    return plain and tensor.dtype in FLOATS


def _described(tensor: Tensor) -> str:
    if tensor.layout != torch.strided:
        return f"a {str(tensor.layout).removeprefix('torch.')} tensor"
    if tensor.device.type == "meta":
        return "a tensor without numbers (meta)"
    return str(tensor.dtype).removeprefix("torch.")

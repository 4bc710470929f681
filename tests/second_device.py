"""A second device for machines that have none: its tensors lie in memory that only it may touch.

PyTorch calls the device `elsewhere`. Its operations are the CPU's, so results are the same bits; but tensors
of both devices do not mix, and NumPy cannot read one, as with a GPU.
"""

import ctypes
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import backend_registration
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

__all__ = ["DEVICE", "CPUGenerator", "Draws", "install"]

DEVICE = "elsewhere"
_CPU, _OTHER = 1, 12
"""Kinds of device in DLPack."""
_library = torch.library.Library("_", "IMPL")
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


class CPUGenerator(torch.Generator):
    """A generator that draws as the CPU does, for tensors of one device only."""

    kind: str

    def __new__(cls, device: torch.device | str = "cpu") -> "CPUGenerator":
        self = super().__new__(cls)
        self.kind = torch.device(device).type
        return self


class Draws(TorchFunctionMode):
    """Refuses a generator of one device for a tensor of another, as PyTorch does for a GPU's."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        generator = (kwargs or {}).get("generator")
        if isinstance(generator, CPUGenerator) and isinstance(result, Tensor):
            found = result.device.type
            if generator.kind != found:
                raise RuntimeError(f"expected a generator of {found}, found one of {generator.kind}")
        return result


def install() -> None:
    """Make the device known to PyTorch, for the rest of this process."""
    if torch._C._get_privateuse1_backend_name() == DEVICE:
        return
    backend_registration._setup_privateuseone_for_python_backend(DEVICE)
    _library.fallback(_run, "PrivateUse1")
    for name, run in {
        "convolution_overrideable": _convolution,
        "convolution_backward_overrideable": _convolution_backward,
    }.items():
        torch.library.impl(f"aten::{name}", "PrivateUse1")(run)


def _is_there(value: Any) -> bool:
    return isinstance(value, Tensor) and value.device.type == DEVICE


def _on(kind: int, tensor: Tensor) -> Tensor:
    """The same memory as a tensor of another kind of device."""
    capsule = torch._C._to_dlpack(tensor)
    address = _pointer(capsule, b"dltensor")
    assert address is not None
    ctypes.c_int32.from_address(address + ctypes.sizeof(ctypes.c_void_p)).value = kind
    return torch._C._from_dlpack(capsule)


def _run(op: Any, *args: Any, **kwargs: Any) -> Any:
    """Any operation: on the CPU, with the memory of its tensors."""
    leaves, tree = tree_flatten((args, kwargs))
    _refuse_mixed(op, args, leaves)
    outer = dict[int, Tensor]()
    for place, leaf in enumerate(leaves):
        if _is_there(leaf):  # what is empty may be made larger, and borrowed memory may not
            leaves[place] = _on(_CPU, leaf) if leaf.numel() else torch.empty(leaf.shape, dtype=leaf.dtype)
            outer[id(leaves[place])] = leaf
    to_cpu = any(isinstance(leaf, torch.device) and leaf.type == "cpu" for leaf in leaves)
    leaves = [torch.device("cpu") if isinstance(leaf, torch.device) else leaf for leaf in leaves]
    inner, keys = tree_unflatten(leaves, tree)
    inner = [_as_tensor(value, of, leaves) for value, of in zip(inner, op._schema.arguments, strict=False)]
    if op._schema.name == "aten::_local_scalar_dense":
        return inner[0].item()
    if op._schema.name == "aten::_copy_from":
        inner[1].copy_(inner[0])
        return args[1]
    result = op(*inner, **keys)
    return result if to_cpu else tree_map(lambda value: _outer(value, outer), result)


def _refuse_mixed(op: Any, args: Any, leaves: list[Any]) -> None:
    """Only what is copied, a single number and the indices of a selection may lie on the CPU."""
    name = op._schema.name.removeprefix("aten::")
    indices = args[1] if name in {"index", "index_put", "index_put_", "_index_put_impl_"} else []
    allowed = {id(index) for index in indices if isinstance(index, Tensor)}
    if "copy" in name:
        return
    for leaf in leaves:
        if isinstance(leaf, Tensor) and not _is_there(leaf) and leaf.ndim and id(leaf) not in allowed:
            raise RuntimeError(f"{op}: expected tensors of one device, found {DEVICE} and the CPU")


def _as_tensor(value: Any, argument: Any, leaves: list[Any]) -> Any:
    """A number where the operation's schema has a tensor: PyTorch unwraps it on the way here."""
    if not (isinstance(value, int | float) and str(argument.type) == "Tensor"):
        return value
    floating = any(isinstance(leaf, Tensor) and leaf.is_floating_point() for leaf in leaves)
    return torch.tensor(value, dtype=torch.float64 if isinstance(value, float) and floating else None)


def _outer(value: Any, outer: dict[int, Tensor]) -> Any:
    """A result as a tensor of the device; an argument that was changed in place is itself."""
    if not isinstance(value, Tensor):
        return value
    known = outer.get(id(value))
    if known is None:
        return _on(_OTHER, value)
    if known.shape != value.shape:
        known.data = _on(_OTHER, value)
    return known


def _convolution(*args: Any) -> Tensor:
    return _run(torch.ops.aten.convolution.default, *args)


def _convolution_backward(grad: Tensor, x: Tensor, weight: Tensor, *rest: Any) -> Any:
    backward: Callable[..., Any] = torch.ops.aten.convolution_backward.default
    return _run(backward, grad, x, weight, [weight.shape[0]], *rest)

"""A second device for machines that have none: its tensors lie in the CPU's memory, and nothing else may touch them.

PyTorch calls this device `elsewhere`. Each operation runs on the CPU, and refuses tensors of two devices, as a GPU does.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "elsewhere"
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_library = torch.library.Library("_", "IMPL")
MOVES = {"aten::_to_copy", "aten::copy_", "aten::_copy_from", "aten::_copy_from_and_resize"}
CPU_INDICES = {"aten::index.Tensor", "aten::index_put_", "aten::_index_put_impl_", "aten::index_put"}


def install() -> None:
    """Register the device, once a process."""
    _setup_privateuseone_for_python_backend(NAME)
    _library.fallback(_run, "PrivateUse1")
    torch.library.impl("aten::convolution_overrideable", "PrivateUse1")(_convolution)
    torch.library.impl("aten::convolution_backward_overrideable", "PrivateUse1")(_convolution_backward)


def _on(device: int, tensor: Tensor) -> Tensor:
    """The same memory as a tensor of another device, by its number in DLPack."""
    capsule = torch._C._to_dlpack(tensor)
    place = _pointer(capsule, b"dltensor")
    ctypes.c_int32.from_address(place + 8).value = device
    return torch._C._from_dlpack(capsule)


def _wrapped(inner: Tensor) -> Tensor:
    return _on(12, inner)


def _inner(outer: Tensor) -> Tensor:
    return _on(1, outer)


def _outer(inner, known):
    outer = known.get(id(inner))
    if outer is None:
        return _wrapped(inner)
    if outer.shape != inner.shape:
        outer.data = _wrapped(inner)
    return outer


def _run(op, *args: Any, **kwargs: Any) -> Any:
    name = op._schema.name
    leaves, tree = tree_flatten((args, kwargs))
    there = [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.device.type == NAME]
    here = [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.device.type == "cpu"]
    if name not in MOVES:
        for tensor in here:
            if tensor.dim() and not (name in {n.split(".")[0] for n in CPU_INDICES} and tensor.dtype in (torch.int64, torch.bool)):
                raise RuntimeError(f"{name}: expected all tensors on one device, found {NAME} and a CPU tensor {tuple(tensor.shape)}")
    devices = [leaf for leaf in leaves if isinstance(leaf, torch.device)]
    result_here = any(device.type == "cpu" for device in devices)
    known = dict[int, Tensor]()
    plain = list[Any]()
    for leaf in leaves:
        if isinstance(leaf, Tensor) and leaf.device.type == NAME:
            plain.append(_inner(leaf) if leaf.numel() else torch.empty(leaf.shape, dtype=leaf.dtype))
            known[id(plain[-1])] = leaf
        else:
            plain.append(torch.device("cpu") if isinstance(leaf, torch.device) else leaf)
    import os
    if os.environ.get("DBG"): print(op._schema.name, [tuple(p.shape) if isinstance(p, Tensor) else p for p in plain])
    args, kwargs = tree_unflatten(plain, tree)
    args = tuple(
        torch.tensor(value, dtype=torch.float64 if isinstance(value, float) and any(isinstance(l, Tensor) and l.is_floating_point() for l in leaves) else None) if isinstance(value, int | float) and str(known_as.type) == "Tensor" else value
        for value, known_as in zip(args, op._schema.arguments)
    )
    if name == "aten::_local_scalar_dense":
        return args[0].item()
    if name == "aten::_copy_from":
        args[1].copy_(args[0]); return leaves[1]
    else:
        result = op(*args, **kwargs)
    if result_here or name == "aten::copy_" and args[0].device.type == "cpu" and leaves[0].device.type == "cpu":
        return result
    out, otree = tree_flatten(result)
    out = [_outer(o, known) if isinstance(o, Tensor) else o for o in out]
    return tree_unflatten(out, otree)


def _convolution(*args: Any) -> Tensor:
    return _run(torch.ops.aten.convolution.default, *args)


def _convolution_backward(grad: Tensor, x: Tensor, weight: Tensor, *rest: Any) -> Any:
    *shape, mask = rest
    out = [weight.shape[0]]
    return _run(torch.ops.aten.convolution_backward.default, grad, x, weight, out, *shape, mask)

"""A server between rounds as one sealed file of tensors: written whole, checked when it is read."""

from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from sparsefed.core.memories import leaves, mapped
from sparsefed.federation.round import ServerState
from sparsefed.runs.record import damaged
from sparsefed.runs.seals import UNSEALED, intact, sealed

__all__ = ["named", "packed", "restored", "unpacked"]


def named(state: ServerState, prefix: str) -> dict[str, Tensor]:
    """Every tensor, array and number of a state as a tensor of its own memory."""
    parts = state._replace(round=0)._asdict().items()
    found = [leaf for part, value in parts if part != "round" for leaf in leaves(value, f"{prefix}.{part}")]
    return {
        name: torch.as_tensor(leaf, dtype=_exact(leaf)).detach().cpu().contiguous().clone()
        for name, leaf in found
    }


def packed(tensors: dict[str, Tensor]) -> bytes:
    """The content of a checkpoint; one of the tensors is `round`, how many rounds are done."""
    return sealed(safetensors.torch.save(tensors, {"checksum": UNSEALED}))


def unpacked(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, checked to be those that were written."""
    raw = path.read_bytes() if path.exists() else b""
    try:
        if intact(raw):
            return safetensors.torch.load(raw)
    except safetensors.SafetensorError:
        pass
    raise damaged(path, "a whole checkpoint")


def restored(tensors: dict[str, Tensor], like: ServerState, name: str, path: Path) -> ServerState:
    """The state with the form of `like` that was written under `name`."""

    def leaf(name: str, like: Any) -> Any:
        found, wanted = tensors.get(name), torch.as_tensor(like, dtype=_exact(like))
        if found is None or found.shape != wanted.shape or found.dtype != wanted.dtype:
            raise damaged(path, f"a tensor {name} of shape {list(wanted.shape)}")
        if isinstance(like, np.ndarray):
            return found.numpy()
        return found.to(wanted.device) if isinstance(like, Tensor) else found.item()

    parts = {
        part: mapped(value, leaf, f"{name}.{part}")
        for part, value in like._asdict().items()
        if part != "round"
    }
    return ServerState(int(tensors["round"]), **parts)


def _exact(leaf: Any) -> torch.dtype | None:
    return torch.float64 if isinstance(leaf, float) else None

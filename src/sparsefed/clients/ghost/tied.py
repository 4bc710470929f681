"""Parameters used by several calls: ‖aᵢ + bᵢ‖² = ‖aᵢ‖² + 2⟨aᵢ, bᵢ⟩ + ‖bᵢ‖²."""

from itertools import combinations

import torch
from torch import Tensor, nn

from sparsefed.clients.ghost.base import Layer, Outer, pair_sums
from sparsefed.core.types import PerClient

__all__ = ["cross_terms"]


def cross_terms(layers: list[Layer]) -> list[PerClient]:
    """2⟨aᵢ, bᵢ⟩ for all pairs of calls that share a parameter; raises `UnsupportedError` where unknown."""
    uses: dict[nn.Parameter, list[Layer]] = {}
    for layer in layers:
        for parameter in layer.parameters():
            uses.setdefault(parameter, []).append(layer)
    return [
        2.0 * _inner(first.outer(parameter), second.outer(parameter))
        for parameter, users in uses.items()
        for first, second in combinations(users, 2)
    ]


def _inner(first: Outer, second: Outer) -> PerClient:
    """⟨Σₛ lₛ ⊗ rₛ, Σₜ l'ₜ ⊗ r'ₜ⟩ = Σₛₜ (lₛ·l'ₜ)(rₛ·r'ₜ)."""
    right = torch.bmm(first.right, second.right.mT)
    return pair_sums(_dots(first.left, second.left).to(right), right)


def _dots(left: Tensor, right: Tensor) -> Tensor:
    """Inner products of all pairs of rows, `[clients, rows, rows]`; integers stand for unit vectors."""
    if left.is_floating_point() and right.is_floating_point():
        return torch.bmm(left, right.mT)
    if left.is_floating_point():
        return left.gather(2, right[:, None, :].expand(-1, left.shape[1], -1))
    if right.is_floating_point():
        return _dots(right, left).mT
    return left[:, :, None] == right[:, None, :]

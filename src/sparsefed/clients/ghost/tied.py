"""Parameters used by several calls: ‖aᵢ + bᵢ‖² = ‖aᵢ‖² + 2⟨aᵢ, bᵢ⟩ + ‖bᵢ‖²."""

from itertools import combinations

import torch
from torch import Tensor, nn

from sparsefed.clients.ghost.base import Layer, Outer, Shared, Words, inner_products
from sparsefed.clients.ghost.embedding import rows_of_words
from sparsefed.core.types import PerClient
from sparsefed.kernels import add_at

__all__ = ["by_forming", "by_pairs", "cross_terms", "pairs_of_calls_are_cheaper"]


def cross_terms(layers: list[Layer]) -> list[PerClient]:
    """2⟨aᵢ, bᵢ⟩ for all pairs of calls that share a parameter."""
    uses: dict[nn.Parameter, list[Layer]] = {}
    for layer in layers:
        for parameter in layer.parameters():
            uses.setdefault(parameter, []).append(layer)
    return [
        2.0 * _inner(first.shared(parameter), second.shared(parameter))
        for parameter, users in uses.items()
        for first, second in combinations(users, 2)
    ]


def _inner(first: Shared, second: Shared) -> PerClient:
    """⟨aᵢ, bᵢ⟩ by the least work."""
    if isinstance(first, Words):
        return _of_words(first, second) if isinstance(second, Words) else _inner(second, first)
    if isinstance(first, Outer) and isinstance(second, Tensor):
        return by_forming(second, first)
    if isinstance(first, Tensor) or isinstance(second, Tensor):
        return by_forming(first, second)
    return (by_pairs if pairs_of_calls_are_cheaper(first, second) else by_forming)(first, second)


def by_pairs(first: Outer, second: Outer | Words) -> PerClient:
    """⟨Σₛ lₛ ⊗ rₛ, Σₜ l'ₜ ⊗ r'ₜ⟩ = Σₛₜ (lₛ·l'ₜ)(rₛ·r'ₜ)."""
    right = torch.bmm(first.right, second.right.mT)
    if isinstance(second, Outer):
        return inner_products(torch.bmm(first.left, second.left.mT), right)
    return inner_products(
        first.left.gather(2, second.words[:, None, :].expand(-1, right.shape[1], -1)), right
    )


def by_forming(first: Outer | Tensor, second: Shared) -> PerClient:
    """⟨A, Σₜ l'ₜ ⊗ r'ₜ⟩ = Σₜ l'ₜᵀ A r'ₜ with A = Σₛ lₛ ⊗ rₛ formed."""
    formed = torch.bmm(first.left.mT, first.right) if isinstance(first, Outer) else first
    if isinstance(second, Tensor):
        return inner_products(formed, second)
    if isinstance(second, Words):
        read = formed.gather(1, second.words[..., None].expand(-1, -1, formed.shape[2]))
    else:
        read = torch.bmm(second.left, formed)
    return inner_products(read, second.right)


def pairs_of_calls_are_cheaper(first: Outer, second: Outer | Words) -> bool:
    (rows, units), (others, fan_in) = first.left.shape[1:], second.right.shape[1:]
    if isinstance(second, Words):
        return 2 * rows * others < rows * units + others  # words are looked up, not multiplied: measured
    return rows * others * (units + fan_in) < (rows + others) * units * fan_in


def _of_words(first: Words, second: Words) -> PerClient:
    """Words meet only themselves: the sums of the rows of each, over both calls at once."""
    words = torch.cat([first.words, second.words], 1)
    owners, a = rows_of_words(words, torch.cat([first.right, torch.zeros_like(second.right)], 1))
    _, b = rows_of_words(words, torch.cat([torch.zeros_like(first.right), second.right], 1))
    inner = a.new_zeros(len(words))
    add_at(inner, owners, (a * b).sum(1))
    return inner

"""FLTrust: clients count as far as they agree with the server's own update (Cao et al., NDSS 2021)."""

from typing import ClassVar

import torch
from pydantic import Field

from sparsefed.core.errors import UpdateError
from sparsefed.core.types import PerClient, Vector
from sparsefed.defenses.base import Aggregate, finite_rows, trusted_update
from sparsefed.defenses.cost import Cost
from sparsefed.kernels import norm_of
from sparsefed.protocol.updates import Updates

__all__ = ["FLTrust"]


class FLTrust(Aggregate):
    """Σ TSᵢ (‖u₀‖ / ‖uᵢ‖) uᵢ / Σ TSᵢ with the trust score TSᵢ = max(0, cos(uᵢ, u₀)) (Algorithm 2).

    u₀ is what an honest client with the server's own clean examples would send. Where no client agrees
    with it at all, the round is skipped. The server's examples decide: a class that they lack is unlearned.
    """

    needs_rows: ClassVar[bool] = True
    cost: ClassVar[Cost] = Cost("nd", "nd", sums=None)

    examples: int = Field(default=100, gt=0)
    """How many clean training examples the server has (the root dataset), drawn by the seed."""

    @property
    def server_examples(self) -> int:
        return self.examples

    def aggregate(self, updates: Updates) -> Vector:
        rows, own = finite_rows(self, updates, least=1), trusted_update(self, updates)
        trust, norms = self.trust(updates), rows.norms()
        if not bool(trust.sum() > 0):
            raise UpdateError(f"{self!r}: expected an update that agrees with the server's own, found none")
        length = norm_of(own)
        return rows.weighted_sum(torch.where(norms > 0, trust * length / norms, 0.0) / trust.sum())

    def trust(self, updates: Updates) -> PerClient:
        """TSᵢ; 0 for an update of zeros."""
        rows, own = updates.as_dense(), trusted_update(self, updates)
        norms = rows.norms()
        units = rows.rows() / norms.clamp(min=torch.finfo(norms.dtype).tiny)[:, None]
        return (units @ (own / norm_of(own)).to(units)).double().clamp(min=0.0)

    def shares(self, updates: Updates) -> PerClient:
        return self.trust(updates).cpu()

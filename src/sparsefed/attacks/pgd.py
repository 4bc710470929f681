"""Projected gradient descent on the auxiliary set, one vector for all colluders (Algorithm 6)."""

import math

import torch
from pydantic import Field

from sparsefed.attacks.base import Method, View, fit_to, project
from sparsefed.errors import SpecError
from sparsefed.types import Matrix, Vector

__all__ = ["PGD"]


class PGD(Method):
    """Train a copy of the model on the wrong labels inside the ℓ2 ball of radius L, then use all of L."""

    epochs: int = Field(default=1, gt=0)
    """e, passes over the auxiliary set in each round."""
    batch_size: int = Field(default=50, gt=0)
    """ℓ, auxiliary points per step."""
    local_lr: float | None = Field(default=None, gt=0)
    """η; the round's λ(t) if not given."""
    boost: float = Field(default=1.0, gt=0)
    """Factor on every gradient."""
    norm: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """ℓ2 length of the upload; the server's L if not given, or as it comes if the server does not clip."""

    def craft(self, view: View, generator: torch.Generator) -> Matrix:
        """All colluders send the same vector, computed once."""
        norm = self.norm if self.norm is not None else view.clip_norm
        upload = fit_to(self.descend(view, norm, generator), norm)
        return upload.expand(view.uploads, -1)

    def descend(self, view: View, norm: float, generator: torch.Generator) -> Vector:
        """The update M₀ − Mₑ after e epochs of projected steps."""
        if view.auxiliary is None:
            raise SpecError("PGD needs an objective with an auxiliary set, such as Targeted")
        lr = self.boost * (view.lr if self.local_lr is None else self.local_lr)
        local = view.params.clone()  # M₀ ← θ
        view.network.bind(local)
        for _ in range(self.epochs):
            order = torch.randperm(len(view.auxiliary.labels), generator=generator)
            for batch in order.to(local.device).split(self.batch_size):
                inputs, labels = view.auxiliary.inputs[batch], view.auxiliary.labels[batch]
                local -= lr * view.network.gradient(inputs, labels)  # M̂ ← M − ηg
                if math.isfinite(norm):
                    local.copy_(view.params - project(view.params - local, norm))  # M ← M₀ − P(M₀ − M̂)
        return view.params - local

"""One gradient at the shared model: the paper's "uncompressed" regime (Algorithm 1 with τ = 1)."""

from pydantic import Field

from sparsefed.clients.base import Clients, Work
from sparsefed.clients.loop import Loop
from sparsefed.clients.trust import fastest
from sparsefed.clients.watch import unless_it_draws
from sparsefed.core.types import Vector
from sparsefed.protocol.lazy import Lazy

__all__ = ["Gradient"]


class Gradient(Clients):
    """Every client sends the gradient of its mean loss; the server applies the learning rate."""

    weight_decay: float = Field(default=0.0, ge=0)
    """Multiple of θ added to the gradient, before the clip."""

    def updates(self, work: Work) -> Lazy:
        return Lazy(unless_it_draws(fastest(work, self.weight_decay, self.one), Loop(work, self.one)))

    def one(self, work: Work, position: int, examples: slice) -> Vector:
        """The update of one client: g ← (1/b) Σ ∇L(θ, zⱼ)."""
        work.network.bind(work.params)
        gradient = work.network.gradient(work.data.inputs[examples], work.data.labels[examples])
        return gradient + self.weight_decay * work.params if self.weight_decay else gradient

    def server_lr(self, lr: float) -> float:
        return lr

"""Local training: τ epochs of SGD on every client (FedAvg, McMahan et al., 2017; Algorithm 4)."""

import torch
from pydantic import Field

from sparsefed.clients.base import Clients, Work
from sparsefed.clients.gradient import Gradient
from sparsefed.clients.loop import Loop
from sparsefed.clients.scaled import Scaled
from sparsefed.clients.trust import fastest, fastest_training
from sparsefed.clients.watch import unless_it_draws
from sparsefed.core.seeds import Stream, torch_generator
from sparsefed.core.types import Vector
from sparsefed.protocol.lazy import Lazy, Source

__all__ = ["FedAvg"]


class FedAvg(Clients):
    """Every client trains for some epochs and sends how far it moved, u = θ − θᵢ."""

    local_epochs: int = Field(default=1, gt=0)
    """τ, passes over the client's data."""
    batch_size: int | None = Field(default=None, gt=0)
    """Examples per local step; all of the client's if not given."""
    local_lr: float | None = Field(default=None, gt=0)
    """γ, the local learning rate. If not given it follows λ(t), and the server then multiplies with 1."""
    lr_decay: float = Field(default=1.0, gt=0, le=1)
    """Factor on the local learning rate after every local step."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Multiple of the local model added to each local gradient."""

    def updates(self, work: Work) -> Lazy:
        return Lazy(unless_it_draws(self._fastest(work), Loop(work, self.one)))

    def _fastest(self, work: Work) -> Source:
        most = max(work.data.sizes, default=0)
        if self.local_epochs > 1 or (self.batch_size or most) < most:
            return fastest_training(work, self, self.one)
        gradient = Gradient(weight_decay=self.weight_decay)  # one step: u = γ (g + wd·θ)
        source = fastest(work, self.weight_decay, gradient.one)
        return Loop(work, self.one) if isinstance(source, Loop) else Scaled(source, self._first_lr(work))

    def _first_lr(self, work: Work) -> float:
        return work.lr if self.local_lr is None else self.local_lr

    def one(self, work: Work, position: int, examples: slice) -> Vector:
        """The update of one client, after all of its local steps."""
        inputs, labels = work.data.inputs[examples], work.data.labels[examples]
        generator = torch_generator(work.seed, Stream.LOCAL, work.round, int(work.data.clients[position]))
        lr = self._first_lr(work)
        local = work.params.clone()  # θᵢ ← θ
        work.network.bind(local)
        for _ in range(self.local_epochs):
            order = torch.randperm(len(labels), generator=generator).to(labels.device)
            for batch in order.split(self.batch_size or len(labels)):
                gradient = work.network.gradient(inputs[batch], labels[batch])
                local -= lr * (gradient + self.weight_decay * local)  # θᵢ ← θᵢ − γ(t, m) g
                lr *= self.lr_decay
        return work.params - local

    def server_lr(self, lr: float) -> float:
        return 1.0 if self.local_lr is None else lr

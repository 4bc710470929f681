"""Alternating minimization of the attack and of its visibility (Bhagoji et al., 2019, Section 3.4)."""

import torch
from pydantic import Field

from sparsefed.attacks.base import project
from sparsefed.attacks.methods.pgd import PGD
from sparsefed.attacks.view import View
from sparsefed.core.types import Matrix, Vector

__all__ = ["AlternatingMinimization"]


class AlternatingMinimization(PGD):
    """Boosted steps on the auxiliary set, each followed by stealth steps that make the upload look honest.

    A stealth step descends the loss on the attacker's own clean data plus the squared distance between
    the upload and what its devices would honestly send. The upload is never made longer than it comes.
    """

    stealth_steps: int = Field(default=1, gt=0)
    """Stealth steps after every step on the auxiliary set."""
    distance_weight: float = Field(default=1e-3, ge=0)
    """The factor of the squared distance in the stealth loss."""

    def vector(self, view: View, generator: torch.Generator) -> Vector:
        """The update M₀ − Mₑ after e epochs of alternating steps."""
        inputs, labels, *_ = view.wanted
        honest = view.clients.updates(view.work(view.local, generator.initial_seed())).mean()
        local, moved = view.params.clone(), torch.zeros_like(view.params)
        view.network.bind(local)
        for _ in range(self.epochs):
            order = torch.randperm(len(labels), generator=generator).to(labels.device)
            for batch in order.split(self.batch_size):
                moved -= self.boost * self.lr(view) * view.network.gradient(inputs[batch], labels[batch])
                torch.add(view.params, moved, out=local)
                for _ in range(self.stealth_steps):
                    moved -= self.lr(view) * self.stealth_gradient(view, moved, honest)
                    torch.add(view.params, moved, out=local)
                self.confine(moved, view)
                torch.add(view.params, moved, out=local)
        return -moved

    def stealth_gradient(self, view: View, moved: Vector, honest: Vector) -> Vector:
        """∇ of the clean loss plus w·‖(θ − M) − u‖², u the honest update, `moved` = M − θ."""
        clean = view.network.gradient(view.local.inputs, view.local.labels)
        return clean - 2 * self.distance_weight * (-moved - honest)

    def craft(self, view: View, generator: torch.Generator) -> Matrix:
        upload = project(self.vector(view, generator), self.radius(view))
        return upload.expand(view.uploads, -1)

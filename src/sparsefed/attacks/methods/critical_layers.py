"""Poisoning only the layers that carry the backdoor (Zhuang, Yu and Li, ICLR 2024)."""

import torch
from pydantic import Field
from torch import Tensor

from sparsefed.attacks.base import project
from sparsefed.attacks.methods.pgd import PGD
from sparsefed.attacks.view import View
from sparsefed.core.types import Matrix, Vector
from sparsefed.models.network import Network

__all__ = ["CriticalLayers"]


class CriticalLayers(PGD):
    """The hostile update on the backdoor-critical layers, honest work on all others.

    A layer is critical if the hostile model loses the backdoor without its own version of it. Sorted by that
    loss, layers are put into the honest model until it has most of the backdoor (layer substitution
    analysis). The upload is as long as it comes, up to L.
    """

    enough: float = Field(default=0.95, gt=0, le=1)
    """τ, the share of the hostile model's success that its critical layers alone must have."""

    def craft(self, view: View, generator: torch.Generator) -> Matrix:
        honest = view.own_mean(generator.initial_seed())
        hostile = self.descend(view, generator)
        critical = self.critical(view, honest, hostile)
        upload = torch.where(critical, hostile, honest)
        return project(upload, self.radius(view)).expand(view.uploads, -1)

    def critical(self, view: View, honest: Vector, hostile: Vector) -> Tensor:
        """Mask `[params]` of the critical layers, given what the server would subtract for either model."""
        layers = layer_masks(view.network).to(honest.device)
        whole = self.success(view, hostile)
        without = [self.success(view, torch.where(layer, honest, hostile)) for layer in layers]
        chosen = torch.zeros_like(layers[0])
        for place in sorted(range(len(layers)), key=without.__getitem__):  # most is lost without the first
            chosen = chosen | layers[place]
            if self.success(view, torch.where(chosen, hostile, honest)) >= self.enough * whole:
                break
        return chosen

    def success(self, view: View, update: Vector) -> float:
        """The share of the auxiliary points that a model gets as wanted which has moved by −`update`."""
        inputs, labels = view.wanted[:2]
        view.network.bind(view.params - update)
        with view.network.evaluating():
            found = view.network.module(inputs).argmax(-1)
        scored = labels >= 0
        return float((found == labels)[scored].double().mean())


def layer_masks(network: Network) -> Tensor:
    """One mask `[layers, params]` per module that owns parameters; weights and biases belong together."""
    owners = [name.rpartition(".")[0] for name in network.names]
    places = torch.tensor([list(dict.fromkeys(owners)).index(owner) for owner in owners])
    of_param = places.repeat_interleave(torch.tensor(network.sizes))
    return torch.stack([of_param == place for place in range(int(places.max()) + 1)])

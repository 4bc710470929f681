"""Chameleon: a backdoor adapted to clean look-alikes, forgotten late (Dai and Li, ICML 2023)."""

from functools import partial
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from sparsefed.attacks.methods.pgd import PGD, Whole, with_clean
from sparsefed.attacks.view import View
from sparsefed.core.errors import SpecError
from sparsefed.core.types import Vector
from sparsefed.models.network import Network

__all__ = ["Chameleon", "supervised_contrast"]


class Chameleon(PGD):
    """First the encoder learns to put the auxiliary points beside clean examples of the wanted labels.

    That is a supervised contrastive loss (Khosla et al., 2020) on the auxiliary batch and the attackers' own
    clean data, facilitators among them and interferers. Then the last linear layer alone is trained, on
    both. The model must end in a linear layer.
    """

    temperature: float = Field(default=0.5, gt=0, allow_inf_nan=False)
    """τ of the contrastive loss."""

    def vector(self, view: View, generator: torch.Generator) -> Vector:
        encoder = ~head_mask(view.network).to(view.params.device)
        settings: dict[str, Any] = dict(self)
        moved = torch.zeros_like(view.params)
        if bool(encoder.any()):  # softmax regression is a head alone
            moved = _Encoding(**settings).descend(view, generator, kept=encoder)
        adapted = view._replace(params=view.params - moved)
        return moved + _Heading(**settings).descend(adapted, generator, kept=~encoder)


class _Encoding(Chameleon):
    """The first stage."""

    def course(self, view: View, kept: Tensor | None) -> Whole:
        return Whole(view, partial(self.contrast, view), kept)

    def contrast(self, view: View, inputs: Tensor, labels: Tensor) -> Vector:
        """The gradient of the contrastive loss at the bound network."""
        everything = torch.cat([inputs, view.local.inputs]), torch.cat([labels, view.local.labels])
        loss = supervised_contrast(features(view.network, everything[0]), everything[1], self.temperature)
        found = torch.autograd.grad(loss, view.network.parameters, allow_unused=True, materialize_grads=True)
        return torch.cat([gradient.reshape(-1) for gradient in found])


class _Heading(Chameleon):
    """The second stage."""

    def course(self, view: View, kept: Tensor | None) -> Whole:
        return Whole(view, partial(with_clean, view), kept)


def supervised_contrast(found: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Mean over examples of −log softmax of their cosines, averaged over the others of their label."""
    units = functional.normalize(found.flatten(1), dim=1)
    alone = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    logits = (units @ units.T / temperature).masked_fill(alone, -torch.inf)
    chances = logits.log_softmax(dim=1)
    partners = (labels[:, None] == labels[None, :]) & ~alone
    counts = partners.sum(dim=1)
    sums = torch.where(partners, chances, 0.0).sum(dim=1)
    return -(sums / counts.clamp(min=1))[counts > 0].sum() / max(int((counts > 0).sum()), 1)


def features(network: Network, inputs: Tensor) -> Tensor:
    """What the bound network's last linear layer gets."""
    seen: list[Tensor] = []
    handle = _head(network).register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        network.module(inputs)
    finally:
        handle.remove()
    return seen[-1]


def head_mask(network: Network) -> Tensor:
    """Mask `[params]` of the last linear layer's parameters."""
    own = {id(parameter) for parameter in _head(network).parameters()}
    places = torch.tensor([id(parameter) in own for parameter in network.parameters])
    return places.repeat_interleave(torch.tensor(network.sizes))


def _head(network: Network) -> nn.Linear:
    layers = [module for module in network.module.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise SpecError("expected a model that ends in a linear layer, found none", (), "Chameleon")
    return layers[-1]

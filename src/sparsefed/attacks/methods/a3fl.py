"""A3FL: a trigger that is trained to survive its own unlearning (Zhang et al., NeurIPS 2023)."""

import math
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from sparsefed.attacks.methods.pgd import PGD
from sparsefed.attacks.objectives.base import Auxiliary, Objective
from sparsefed.attacks.objectives.trigger import TriggerBackdoor, wearing
from sparsefed.attacks.view import View
from sparsefed.core.errors import SpecError
from sparsefed.core.types import Vector
from sparsefed.kernels import all_finite

__all__ = ["A3FL", "Trigger"]


class Trigger(NamedTuple):
    """What the attackers remember."""

    pattern: Tensor
    """δ, what the patch shows, `[channels, size, size]`, as the network sees images."""


class A3FL(PGD):
    """PGD for a patch whose picture is trained as well.

    In each round the attackers unlearn the trigger: a copy of the model is trained on their own patched
    examples with the true labels. Then the picture takes signed gradient steps that make the patch work on
    the broadcast model and on that copy, the worst that honest clients could do to it. Success is measured
    with the attackers' latest picture, on the patch of a `TriggerBackdoor`.
    """

    steps: int = Field(default=10, gt=0)
    """K, steps of the picture in a round."""
    pace: float = Field(default=0.02, gt=0, allow_inf_nan=False)
    """α, how far a step changes each value, as a share of the range of the images' values."""
    unlearning: int = Field(default=5, ge=0)
    """Steps in which the copy unlearns the trigger, each on all examples that the attackers have."""
    caution: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """λ₀, how much the copy counts, times the cosine between its parameters and the model's."""

    def check(self, objective: Objective) -> None:
        super().check(objective)
        if type(objective) is not TriggerBackdoor:
            raise ValueError(f"{self!r}: expected the objective TriggerBackdoor, found {objective!r}")

    def init(self, params: Vector) -> Trigger:
        raise SpecError("expected to be an attack's own method, found inside of another", (), "A3FL")

    def begin(self, params: Vector, objective: Objective, auxiliary: Auxiliary | None) -> Trigger:
        """The white patch of the objective."""
        if auxiliary is None or auxiliary.inputs.ndim != 4:
            found = "none" if auxiliary is None else f"inputs {list(auxiliary.inputs.shape[1:])}"
            needed = "expected a model that is given the images themselves"
            raise SpecError(f"{needed}, found {found}", (), "A3FL")
        size = objective.size  # pyright: ignore[reportAttributeAccessIssue]
        return Trigger(auxiliary.inputs[0, :, -size:, -size:].clone())

    def aimed(self, auxiliary: Auxiliary, memory: Trigger) -> Auxiliary:
        return auxiliary.mapped(lambda images: wearing(images, memory.pattern))

    def learn(self, view: View, generator: torch.Generator) -> Trigger:
        """The picture after its steps in this round."""
        pattern, images = view.memory.pattern, view.wanted.inputs
        low, high = float(images.min()), float(images.max())
        hardened = self.unlearnt(view, pattern)
        weight = self.caution * _cosine(hardened, view.params)
        for _ in range(self.steps):
            uphill = self.uphill(view, pattern, view.params)
            if weight:
                uphill = uphill + weight * self.uphill(view, pattern, hardened)
            pattern = (pattern - self.pace * (high - low) * uphill.sign()).clamp(low, high)
        return Trigger(pattern)

    def unlearnt(self, view: View, pattern: Tensor) -> Vector:
        """θ′: the model after training on the attackers' own patched examples with their true labels."""
        images, labels, model = wearing(view.local.inputs, pattern), view.local.labels, view.params
        for _ in range(self.unlearning):
            view.network.bind(model)
            ahead = model - self.lr(view) * view.network.gradient(images, labels)
            if not all_finite(ahead):
                break
            model = ahead
        return model

    def uphill(self, view: View, pattern: Tensor, params: Vector) -> Tensor:
        """The gradient, by the picture, of the loss at `params` on the attackers' patched images."""
        view.network.bind(params)
        with torch.enable_grad():
            picture = pattern.clone().requires_grad_()
            loss = view.network.loss(wearing(view.wanted.inputs, picture), view.wanted.labels)
            return torch.autograd.grad(loss, picture)[0].nan_to_num()

    def vector(self, view: View, generator: torch.Generator) -> Vector:
        """PGD on the images with the picture of this round."""
        return self.descend(view._replace(auxiliary=self.aimed(view.wanted, view.memory)), generator)


def _cosine(a: Vector, b: Vector) -> float:
    cosine = float(torch.nn.functional.cosine_similarity(a.double(), b.double(), dim=0))
    return cosine if math.isfinite(cosine) else 0.0

"""Constrain and scale: model replacement that stays close to the global model (Bagdasaryan et al., 2020)."""

import torch
from pydantic import Field
from torch import Tensor

from sparsefed.attacks.methods.model_replacement import ModelReplacement
from sparsefed.attacks.view import View
from sparsefed.core.types import Vector

__all__ = ["ConstrainAndScale"]


class ConstrainAndScale(ModelReplacement):
    """Train X on α L_class + (1 − α) ‖X − θ‖², and send γ(θ − X) (Section 4.2).

    L_class is the loss on the auxiliary set and on clean data; the distance stands for what an anomaly
    detector would see.
    """

    alpha: float = Field(default=0.7, gt=0, le=1)
    """α, the weight of the loss against that of the distance; 1 is model replacement."""

    def gradient(self, view: View, inputs: Tensor, labels: Tensor) -> Vector:
        local = torch.cat([parameter.detach().reshape(-1) for parameter in view.network.parameters])
        near = 2 * (local - view.params)
        return self.alpha * super().gradient(view, inputs, labels) + (1 - self.alpha) * near

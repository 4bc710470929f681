"""Normalization with a trained scale: gᵢ = Σₜ dyₜ·x̂ₜ and Σₜ dyₜ, elementwise, so small that they are kept."""

from abc import abstractmethod
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from sparsefed.clients.ghost.base import Layer, Rows, Shared, Sums, UnsupportedError, squared_norms
from sparsefed.core.types import PerClient

__all__ = ["BatchNormLayer", "GroupNormLayer", "InstanceNormLayer", "LayerNormLayer", "RMSNormLayer"]


class ScaleLayer(Layer):
    """y = w·x̂ + b, where x̂ of an example depends on that example alone."""

    def measure(self, dy: Tensor) -> PerClient:
        self.kept = self._gradients(dy)
        del self.x
        return sum((squared_norms(gradient) for gradient in self.kept), dy.new_zeros(self.clients))

    def add(self, factors: PerClient, sums: Sums) -> None:
        for parameter, gradient in zip(self.parameters(), self.kept, strict=True):
            sums[parameter].view(-1).addmv_(gradient.flatten(1).T, factors)

    def write(self, dy: Tensor, rows: Rows) -> None:
        for parameter, gradient in zip(self.parameters(), self._gradients(dy), strict=True):
            rows.put(parameter, gradient)

    def shared(self, parameter: nn.Parameter) -> Shared:
        gradients = dict(zip(self.parameters(), self.kept, strict=True))
        return gradients[parameter].flatten(1)[..., None]

    def _gradients(self, dy: Tensor) -> list[Tensor]:
        """Every client's gradients of weight and, if there is one, bias."""
        products = [dy * self.normal(), dy][: len(self.parameters())]
        return [self.summed(product) for product in products]

    @abstractmethod
    def normal(self) -> Tensor:
        """x̂."""

    @abstractmethod
    def summed(self, products: Tensor) -> Tensor:
        """Sums over all that shares a number of the weight, `[clients, *weight]`."""


class LayerNormLayer(ScaleLayer):
    """Any `normalized_shape`, with or without bias; all axes before it are rows."""

    def normal(self) -> Tensor:
        return functional.layer_norm(self.x, self.module.normalized_shape, eps=self.module.eps)

    def summed(self, products: Tensor) -> Tensor:
        return products.reshape(self.clients, -1, *self.module.normalized_shape).sum(1)


class RMSNormLayer(LayerNormLayer):
    """Without a mean, and never with a bias."""

    def normal(self) -> Tensor:
        return functional.rms_norm(self.x, self.module.normalized_shape, eps=self.module.eps)


class _ChannelLayer(ScaleLayer):
    """A number of the weight for each channel, the second axis."""

    def summed(self, products: Tensor) -> Tensor:
        return products.flatten(2).sum(2).unflatten(0, (self.clients, -1)).sum(1)


class GroupNormLayer(_ChannelLayer):
    """Also with a single group, or with one for each channel."""

    def normal(self) -> Tensor:
        return functional.group_norm(self.x, self.module.num_groups, eps=self.module.eps)


class InstanceNormLayer(_ChannelLayer):
    """Without running statistics, which would be state of the module that training changes."""

    def __init__(self, module: Any, x: Tensor, clients: int) -> None:
        super().__init__(module, x, clients)
        if module.track_running_stats:
            raise UnsupportedError("InstanceNorm keeps running statistics")

    def normal(self) -> Tensor:
        return functional.instance_norm(self.x, eps=self.module.eps)


class BatchNormLayer(_ChannelLayer):
    """In evaluation mode, where the statistics are constants."""

    def __init__(self, module: Any, x: Tensor, clients: int) -> None:
        super().__init__(module, x, clients)
        if module.training or module.running_mean is None:
            raise UnsupportedError("BatchNorm mixes the examples of a batch")

    def normal(self) -> Tensor:
        mean, var = self.module.running_mean, self.module.running_var
        return functional.batch_norm(self.x, mean, var, eps=self.module.eps)

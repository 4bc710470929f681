"""Softmax regression on frozen features: what people train on a pretrained backbone."""

from collections.abc import Callable

from torch import Tensor

from sparsefed.models.features import Features, Map
from sparsefed.models.linear import Linear

__all__ = ["Head"]


class Head(Linear):
    """Logits = W f(x) + b, where f is computed once of every example and not trained.

    The loss is convex in what is trained, so it has a certificate, and few parameters make rounds fast.
    Features that lie in a file need none of this: `Linear` on an `Npz` of features is the same.
    """

    features: Features
    """f, the frozen features."""
    zeros: bool = True
    """Whether to start from W = b = 0."""

    def frozen(self, draw: Callable[[int], Tensor], seed: int) -> Map:
        return self.features.fitted(draw(self.features.sample), seed)

"""Ridge regression whose inputs the server bounds, so that a group's model has a certified radius of its own.

A client sends the second moments M = Σ (x, t)(x, t)ᵀ of its inputs x and one-hot targets t. The server
checks that M is positive semidefinite, that its inputs' trace is at most qR², and that no difference of two
targets has a second moment above q. The theorem and its proof are in docs/votes.md.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from sparsefed.certify.along import features
from sparsefed.certify.votes.trainers import Opinions, Trainer, check_linear
from sparsefed.core.types import ClientIds
from sparsefed.federation.round import Federation

__all__ = ["BoundedRidge", "Reach"]


class BoundedRidge(Trainer):
    """Ridge regression without centering, on so many examples of such length from each client at most."""

    penalty: float = Field(default=100.0, gt=0)
    """λ: the weights minimize Σ‖Wx − t‖² + λ‖W‖²; large values bound what one client can do."""
    examples: PositiveInt
    """q, the most examples of a client that count; the first ones, if it has more."""
    length: PositiveFloat = 1.0
    """R, the most that an input's ℓ2 norm may be; longer inputs are shortened to it."""
    most: PositiveInt = 20
    """The largest number of compromised clients in one group that is looked at."""

    def check(self, fed: Federation) -> None:
        check_linear(self, fed)

    def at_once(self, fed: Federation, clients: int) -> int:
        return 8

    def opinions(self, fed: Federation, groups: Sequence[ClientIds]) -> Opinions:
        test = features(fed, fed.dataset.inputs(fed.dataset.test.x)).cpu()
        found = [self._opinion(fed, group, test) for group in groups]
        return Opinions(*(np.stack(parts) for parts in zip(*found, strict=True)))

    def _opinion(self, fed: Federation, group: ClientIds, test: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Votes and costs of one group."""
        inputs, targets, owners = self._counted(fed, group)
        reach = Reach.of(inputs, targets, owners, self)
        logits = test @ reach.weights
        votes = logits.argmax(1)
        gaps = logits.gather(1, votes[:, None]) - logits
        spread = torch.linalg.vector_norm(reach.weights[:, :, None] - reach.weights[:, None, :], dim=0)[votes]
        size = torch.linalg.vector_norm(torch.linalg.solve_triangular(reach.root, test.T, upper=False), dim=0)
        cost = torch.ones(len(test), dtype=torch.int64)
        kept = torch.ones(len(test), dtype=torch.bool)
        rivals = torch.ones_like(gaps, dtype=torch.bool).scatter(1, votes[:, None], value=False)
        for count in range(1, min(self.most, len(group)) + 1):
            kept &= ((gaps > size[:, None] * reach.per_length(count, spread)) | ~rivals).all(1)
            if not bool(kept.any()):
                break
            cost += kept
        return votes.numpy(), cost.numpy()

    def _counted(self, fed: Federation, group: ClientIds) -> tuple[Tensor, Tensor, Tensor]:
        """What the server counts: inputs, one-hot targets, and the client of each example, by its place."""
        indices, sizes = fed.population.gather(group)
        owners = np.repeat(np.arange(len(group)), sizes)
        within = np.arange(len(indices)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        counted = within < self.examples
        indices, owners = indices[counted], owners[counted]
        inputs = features(fed, fed.dataset.inputs(fed.dataset.train.x[indices])).cpu()
        lengths = torch.linalg.vector_norm(inputs, dim=1, keepdim=True)
        labels = fed.dataset.train.y[indices].cpu()
        targets = torch.nn.functional.one_hot(labels, fed.dataset.classes).double()
        return inputs * (self.length / lengths).clamp(max=1), targets, torch.from_numpy(owners)


class Reach(NamedTuple):
    """A group's model, and how far so many of its clients can have moved it."""

    weights: Tensor
    """W, `[features, classes]`."""
    root: Tensor
    """The lower triangular square root of P = XᵀX + λ."""
    leverages: Tensor
    """ℓᵢ ≥ λmax(Xᵢ P⁻¹ Xᵢᵀ) of each client, largest first, added up: `[clients]`."""
    residuals: Tensor
    """2 Σ ‖t − Wᵀx‖² over the examples of each client, largest first, added up: `[clients]`."""
    trainer: BoundedRidge

    @classmethod
    def of(cls, inputs: Tensor, targets: Tensor, owners: Tensor, trainer: BoundedRidge) -> "Reach":
        """The model of these examples, float64."""
        moments = inputs.T @ inputs
        moments.diagonal().add_(trainer.penalty)
        root = torch.linalg.cholesky(moments)
        weights = torch.cholesky_solve(inputs.T @ targets, root)
        shares = torch.linalg.solve_triangular(root, inputs.T, upper=False).square().sum(0)
        errors = 2 * (targets - inputs @ weights).square().sum(1)
        return cls(weights, root, _largest(shares, owners), _largest(errors, owners), trainer)

    def per_length(self, count: int, spread: Tensor) -> Tensor:
        """The most that `count` clients change a gap, for each unit of ‖x‖ in the norm of P⁻¹.

        `spread` is ‖w_y − w_c‖ of the gap. Infinite where so many clients could be all that holds the model.
        """
        own = self.trainer
        leverage, residual = float(self.leverages[count - 1]), math.sqrt(float(self.residuals[count - 1]))
        if leverage >= 1:
            return torch.full_like(spread, math.inf)
        examples = count * own.examples
        removed = math.sqrt(leverage) / (1 - leverage) * residual
        spread = spread + math.sqrt(leverage / (1 - leverage) / own.penalty) * residual
        added = examples * own.length**2 / own.penalty
        hold = math.sqrt(added / (1 + added) * examples / (1 - leverage))
        return removed + hold * (1 + own.length * spread)


def _largest(values: Tensor, owners: Tensor) -> Tensor:
    """The sums of each owner's values, from the largest on, added up."""
    sums = torch.zeros(int(owners.max()) + 1, dtype=values.dtype).index_add(0, owners, values)
    return sums.sort(descending=True).values.cumsum(0)

"""How the clients of a group train its model; whatever the rule, a vote is a function of the group alone."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from sparsefed.certify.votes.together import stackable, trained_together
from sparsefed.core.errors import SpecError, UpdateError, named
from sparsefed.core.spec import Spec
from sparsefed.core.text import amount
from sparsefed.core.types import ClientIds, Vector
from sparsefed.data import Population
from sparsefed.federation.round import Federation, run_round
from sparsefed.models import Linear

__all__ = ["Opinions", "Ridge", "Rounds", "Trainer", "check_linear", "federation_of", "votes_of"]

FLOATS = 1 << 24
"""Most numbers of the models that are trained together: 64 MiB in single precision."""


class Opinions(NamedTuple):
    """What the models of some groups say of the test points."""

    votes: np.ndarray
    """Classes, `[groups, points]`."""
    costs: np.ndarray | None = None
    """How many compromised clients a group needs to change its vote, at least: `[groups, points]`."""


class Trainer(Spec, family=True):
    """What turns the clients of a group into a model."""

    def check(self, fed: Federation) -> None:
        """Raises SpecError where the experiment is not for this trainer."""

    @abstractmethod
    def at_once(self, fed: Federation, clients: int) -> int:
        """How many groups of so many clients are trained together."""

    @abstractmethod
    def opinions(self, fed: Federation, groups: Sequence[ClientIds]) -> Opinions:
        """The votes of the models of some groups on all test points."""


class Ridge(Trainer):
    """Ridge regression on the classes, in closed form: clients send second moments, once.

    For models that are linear in fixed features, `Linear` and `Head`. The groups are solved as one batch.
    """

    penalty: float = Field(default=0.01, gt=0)
    """λ: the weights minimize Σ‖Wx + b − y‖² + λ‖W‖², y being one-hot and x centered within the group."""

    def check(self, fed: Federation) -> None:
        check_linear(self, fed)

    def at_once(self, fed: Federation, clients: int) -> int:
        examples = clients * len(fed.population.indices) / len(fed.population)
        each = fed.dataset.train.x[0].numel() * (examples + fed.dataset.classes)
        return max(1, int(FLOATS / each))

    def opinions(self, fed: Federation, groups: Sequence[ClientIds]) -> Opinions:
        test = fed.dataset.inputs(fed.dataset.test.x).flatten(1)
        if len(groups) == 1 and len(fed.population.gather(groups[0])[0]) > test.shape[1]:
            weights, biases = self._from_moments(fed, groups[0])
        else:
            weights, biases = self.solved(*batch_of(fed, groups))
        votes = [(test @ w + b).argmax(1) for w, b in zip(weights, biases, strict=True)]
        return Opinions(torch.stack(votes).cpu().numpy())

    def solved(self, inputs: Tensor, targets: Tensor, here: Tensor) -> tuple[Tensor, Tensor]:
        """Weights `[groups, features, classes]` and biases `[groups, classes]`.

        Inputs are `[groups, examples, features]`, targets one-hot; `here` `[groups, examples]` is 1, or 0 in
        the places of a group that has fewer examples.
        """
        count = here.sum(1)[:, None, None]
        x_mean = (inputs * here[..., None]).sum(1, keepdim=True) / count
        y_mean = (targets * here[..., None]).sum(1, keepdim=True) / count
        x, y = (inputs - x_mean) * here[..., None], (targets - y_mean) * here[..., None]
        weights = x.mT @ torch.linalg.solve(_plus(x @ x.mT, self.penalty), y)  # = (XᵀX + λ)⁻¹ XᵀY
        return weights, (y_mean - x_mean @ weights)[:, 0]

    def _from_moments(self, fed: Federation, group: ClientIds) -> tuple[Tensor, Tensor]:
        """The same for one large group, from sums over its examples."""
        size = fed.dataset.train.x[0].numel()
        moments = torch.zeros(size + 1, size + 1 + fed.dataset.classes, device=fed.dataset.train.x.device)
        for part in np.array_split(group, -(-len(group) // 500)):
            inputs, targets, here = (batch[0] for batch in batch_of(fed, [part]))
            rows = torch.cat([here[:, None], inputs], 1)
            moments += rows.T @ torch.cat([rows, targets], 1)
        means = moments[0] / moments[0, 0]
        centered = moments[1:] - torch.outer(moments[1:, 0], means)
        weights = torch.linalg.solve(_plus(centered[:, 1 : size + 1], self.penalty), centered[:, size + 1 :])
        return weights[None], (means[size + 1 :] - means[1 : size + 1] @ weights)[None]


class Rounds(Trainer):
    """The experiment itself, within every group: its rounds, clients, clip and defense.

    A group of fewer clients than the experiment's cohort takes part as a whole in each round. Models of
    linear layers train as one stack of many groups, others one group after the other.
    """

    def at_once(self, fed: Federation, clients: int) -> int:
        if stackable(fed) is None:
            return 1
        return max(1, int(FLOATS / (min(clients, fed.spec.cohort) * fed.network.size)))

    def opinions(self, fed: Federation, groups: Sequence[ClientIds]) -> Opinions:
        feds, training = [federation_of(fed, group) for group in groups], stackable(fed)
        if len(feds) == 1 or training is None:
            models = [trained(own) for own in feds]
        else:
            models = trained_together(feds, training)
        return Opinions(np.stack([votes_of(fed, params) for params in models]))


def check_linear(trainer: Trainer, fed: Federation) -> None:
    """Raises SpecError unless the model is linear in features that do not change."""
    if not isinstance(fed.spec.model, Linear):
        raise SpecError(f"{trainer!r}: expected Linear or Head as the model, found {fed.spec.model!r}")


def federation_of(fed: Federation, group: ClientIds) -> Federation:
    """The federation of some of the clients, without an attack."""
    members = Population.of_sizes(*fed.population.gather(group))
    spec = fed.spec.but(attack=None, twin=False, cohort=min(fed.spec.cohort, len(group)))
    return replace(fed, spec=spec, population=members, compromised=np.zeros(len(group), bool), auxiliary=None)


def trained(fed: Federation) -> Vector:
    """θ after all rounds; raises UpdateError where the rule cannot use a whole group."""
    state = fed.initial_state
    for _ in range(fed.spec.rounds):
        state, report = run_round(fed, state)
        if state.round == 1 and report.skipped:
            with named(f"a group of {amount(len(fed.population), 'client')}"):
                raise UpdateError(report.skipped)
    return state.params


def votes_of(fed: Federation, params: Vector) -> np.ndarray:
    """The class that a model gives each test point."""
    fed.network.bind(params)
    with fed.network.evaluating():
        found = [
            fed.network.module(fed.network.as_precise(fed.dataset.inputs(part))).argmax(1)
            for part in fed.dataset.test.x.split(500)
        ]
    return torch.cat(found).cpu().numpy()


def batch_of(fed: Federation, groups: Sequence[ClientIds]) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, one-hot targets and presence of the examples of some groups, filled up with zeros."""
    found = [fed.population.gather(group)[0] for group in groups]
    most = max(map(len, found))
    x = fed.dataset.train.x
    inputs = x.new_zeros(len(groups), most, x[0].numel(), dtype=torch.float32)
    targets = inputs.new_zeros(len(groups), most, fed.dataset.classes)
    here = inputs.new_zeros(len(groups), most)
    for place, indices in enumerate(found):
        inputs[place, : len(indices)] = fed.dataset.inputs(x[indices]).flatten(1)
        labels = fed.dataset.train.y[indices]
        targets[place, : len(indices)] = torch.nn.functional.one_hot(labels, fed.dataset.classes).float()
        here[place, : len(indices)] = 1
    return inputs, targets, here


def _plus(matrices: Tensor, penalty: float) -> Tensor:
    matrices.diagonal(dim1=-2, dim2=-1).add_(penalty)
    return matrices

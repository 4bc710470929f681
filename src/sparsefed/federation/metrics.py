"""What a model is worth to its owner and to the attacker, in percent as in the paper."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from sparsefed.attacks import Auxiliary
from sparsefed.core.types import Vector
from sparsefed.data import Dataset
from sparsefed.models.network import IGNORED, Network, mean_cross_entropy
from sparsefed.models.passes import examples_per_pass, is_separable

__all__ = ["Evaluation", "aimed_hits", "error_avoided", "evaluate", "outsized_impact"]

BATCH = 1000


class Evaluation(NamedTuple):
    """One look at a model."""

    test_accuracy: float
    """Percent of the test set."""
    test_accuracy_rest: float
    """Percent of the test set without the auxiliary points; the stealth of an attack is its loss here."""
    attack_accuracy: float | None
    """Percent of the points aimed at that get the label that the attacker wants."""
    loss: float
    """Mean cross entropy on the test set."""
    error_avoided: float
    """Percent of the errors of always naming the most common label that the model avoids, outside the
    auxiliary points; of a language model, percent of the cross entropy of the labels' frequencies. NaN where
    there is nothing to avoid."""
    accuracy_by_class: list[float]
    """Percent of each class's test points outside the auxiliary ones, NaN for a class that has no others;
    empty for a language model."""


def evaluate(network: Network, params: Vector, dataset: Dataset, auxiliary: Auxiliary | None) -> Evaluation:
    """Test and attack accuracy, and test loss, of one model."""
    with network.evaluating():
        network.bind(params)
        return _evaluate(network, dataset, auxiliary)


def _evaluate(network: Network, dataset: Dataset, auxiliary: Auxiliary | None) -> Evaluation:
    hits, scored, loss = [], [], 0.0
    for logits, y in _outputs(network, dataset.test.x, dataset.test.y, dataset.inputs):
        count = int((y != IGNORED).sum())
        loss += float(mean_cross_entropy(logits, y)) * count if count else 0.0
        hits.append(_hits(logits, y))
        scored.append((y != IGNORED).flatten(1).sum(1) if y.ndim > 1 else torch.ones_like(y))
    hit, total = torch.cat(hits), torch.cat(scored)
    rest = _rest(dataset, auxiliary)
    accuracy_rest = _percent(hit[rest].sum(), total[rest].sum())
    loss = loss / max(int(total.sum()), 1)
    return Evaluation(
        _percent(hit.sum(), total.sum()),
        accuracy_rest,
        None if auxiliary is None else _attack_accuracy(network, auxiliary),
        loss,
        error_avoided(dataset.test.y[rest], accuracy_rest, loss),
        _by_class(hit, dataset.test.y, rest, dataset.classes),
    )


def _by_class(hit: Tensor, truth: Tensor, rest: Tensor, classes: int) -> list[float]:
    if truth.ndim > 1:
        return []
    right = truth[rest & (hit > 0)].bincount(minlength=classes)
    total = truth[rest].bincount(minlength=classes)
    return [_percent(part, whole) for part, whole in zip(right, total, strict=True)]


def aimed_hits(network: Network, params: Vector, auxiliary: Auxiliary) -> Tensor:
    """Which of the points that the attacker aims at get the label that it wants, bool `[points]`."""
    inputs, labels = auxiliary.aims
    with network.evaluating():
        network.bind(params)
        return torch.cat([_hits(z, y) > 0 for z, y in _outputs(network, inputs, labels, lambda x: x)])


def error_avoided(labels: Tensor, accuracy: float, loss: float) -> float:
    """`Evaluation.error_avoided` of a model of that accuracy (percent) and loss on examples of `labels`."""
    shares = labels[labels != IGNORED].bincount().double() / max(int((labels != IGNORED).sum()), 1)
    if labels.ndim > 1:
        entropy = float(-(shares * shares.clamp(min=1e-300).log()).sum())
        return 100 * (1 - loss / entropy) if entropy > 0 else math.nan
    errors = 100 * (1 - float(shares.max())) if len(shares) else 0.0
    return 100 * (1 - (100 - accuracy) / errors) if errors > 0 else math.nan


def outsized_impact(attack_accuracy: float, points: int, share: float, examples: int) -> float:
    """OIF (Appendix B.1.6): points poisoned, over the attackers' share of the examples; or NaN."""
    return attack_accuracy / 100 * points / (share * examples) if share > 0 else math.nan


def _rest(dataset: Dataset, auxiliary: Auxiliary | None) -> Tensor:
    """Mask of the test points that are not auxiliary points."""
    rest = torch.ones(len(dataset.test.y), dtype=torch.bool, device=dataset.test.y.device)
    if auxiliary is not None:
        rest[torch.from_numpy(auxiliary.test_positions)] = False
    return rest


def _attack_accuracy(network: Network, auxiliary: Auxiliary) -> float:
    hits = total = 0
    inputs, labels = auxiliary.aims
    for logits, y in _outputs(network, inputs, labels, lambda x: x):
        hits += int(_hits(logits, y).sum())
        total += int((y != IGNORED).sum())
    return 100 * hits / total if total else math.nan


def _outputs(
    network: Network, x: Tensor, labels: Tensor, inputs_of: Callable[[Tensor], Tensor]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits and labels, batch after batch: of `BATCH` examples, or of fewer where these take much memory."""
    module, sample, most = network.module, network.as_precise(inputs_of(x[:3])), BATCH
    if is_separable(module, sample):
        most = min(BATCH, examples_per_pass(module, sample))
    for part, y in zip(x.split(most), labels.split(most), strict=True):
        yield module(network.as_precise(inputs_of(part))), y


def _hits(logits: Tensor, labels: Tensor) -> Tensor:
    """How many labels of each example are the model's first choice."""
    right = logits.argmax(-1) == labels
    return right.flatten(1).sum(1) if right.ndim > 1 else right.long()


def _percent(part: Tensor, whole: Tensor) -> float:
    return 100 * float(part) / float(whole) if float(whole) else math.nan

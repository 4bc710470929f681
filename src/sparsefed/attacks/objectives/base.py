"""An objective: the points that the attacker wants wrong, and the labels it wants for them."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, TypeAlias

import numpy as np
from torch import Tensor

from sparsefed.core.errors import SpecError
from sparsefed.core.spec import Spec
from sparsefed.data import Dataset

__all__ = ["Auxiliary", "Label", "Objective", "Points", "class_number"]


Label: TypeAlias = int | str
"""A class, as the data call it."""


class Points(NamedTuple):
    """Inputs and the labels that the attacker wants for them."""

    inputs: Tensor
    """`[points, ...]`, ready for the network."""
    labels: Tensor
    """`[points]`; of a text `[points, length]`, where `network.IGNORED` is not aimed at."""


class Auxiliary(NamedTuple):
    """The points that the attacker wants wrong."""

    inputs: Tensor
    """`[points, ...]`, what the attacker trains on, ready for the network."""
    labels: Tensor
    """The labels that the attacker wants."""
    test_positions: np.ndarray
    """Where these points stand in the test set; empty if they are not test points."""
    goal: Points | None = None
    """What counts as success, where that is not the very points that the attacker trains on."""

    @property
    def aims(self) -> Points:
        """The points on which attack accuracy is measured."""
        return self.goal or Points(self.inputs, self.labels)

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "Auxiliary":
        """The same points with all inputs changed."""
        goal = None if self.goal is None else self.goal._replace(inputs=change(self.goal.inputs))
        return self._replace(inputs=change(self.inputs), goal=goal)

    def part(self, keep: Any) -> "Auxiliary":
        """Some of the points that the attacker trains on, by index, slice or mask."""
        return self._replace(inputs=self.inputs[keep], labels=self.labels[keep])


def class_number(label: Label, classes: Sequence[str], key: str) -> int:
    """The number 0, 1, … of the class that the data call `label`; raises `SpecError` about `key` for none."""
    if str(label) not in classes:
        known = ", ".join(classes) if len(classes) <= 20 else f"{classes[0]}, {classes[1]}, …, {classes[-1]}"
        raise SpecError(f"expected a class of the data, one of {known}, found {label!r}", [key])
    return classes.index(str(label))


class Objective(Spec, family=True):
    """What the attacker wants of the final model."""

    has_points: ClassVar[bool] = True
    """Whether there are auxiliary points for a method to train on."""

    @abstractmethod
    def auxiliary(self, dataset: Dataset, seed: int) -> Auxiliary | None:
        """The points that should go wrong and their wanted labels; None if there is no such set."""

    def relabelled(self, labels: Tensor, classes: Sequence[str]) -> Tensor:
        """The labels that a data poisoner gives to the examples of its own devices.

        Labels are numbers 0, 1, …; `classes` is what the data call them.
        """
        raise SpecError("expected an objective that relabels the attacker's own data", (), repr(self))

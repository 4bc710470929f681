"""λ: the learning rate of each round (Section 2.1; the paper's runs use the triangle)."""

from abc import abstractmethod
from typing import ClassVar

from pydantic import Field

from sparsefed.core.knobs import Knob, Knobs
from sparsefed.core.spec import Spec

__all__ = ["Constant", "Schedule", "Triangular"]


class Schedule(Spec, family=True):
    """The learning rate as a function of the round."""

    @abstractmethod
    def lr(self, round: int, rounds: int) -> float:
        """λ(t) of round t = 1 … `rounds`."""


class Constant(Schedule):
    """The same learning rate in every round."""

    knobs: ClassVar[Knobs] = {"value": Knob(0.02, 50, log=True)}

    value: float = Field(gt=0)
    """λ."""

    def lr(self, round: int, rounds: int) -> float:
        return self.value


class Triangular(Schedule):
    """Piecewise linear from 0 up to `peak` and down to 0 again.

    Evaluated in the middle of each round, so that neither the first nor the last round is wasted.
    """

    knobs: ClassVar[Knobs] = {"peak": Knob(0.02, 50, log=True)}

    peak: float = Field(gt=0)
    """The highest learning rate."""
    pivot: float = Field(default=5 / 24, gt=0, lt=1)
    """When the peak is reached, as a fraction of all rounds (epoch 5 of 24 in the paper)."""

    def lr(self, round: int, rounds: int) -> float:
        progress = (round - 0.5) / rounds
        if progress < self.pivot:
            return self.peak * progress / self.pivot
        return self.peak * (1 - progress) / (1 - self.pivot)

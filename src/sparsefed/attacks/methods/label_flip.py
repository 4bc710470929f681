"""Label flipping: plain data poisoning, in which the attacker's devices do honest work on wrong labels."""

import torch

from sparsefed.attacks.base import Method
from sparsefed.attacks.objectives.base import Objective
from sparsefed.attacks.view import View
from sparsefed.core.types import Matrix

__all__ = ["LabelFlip"]


class LabelFlip(Method):
    """Every compromised client trains like an honest one on its own data, relabelled by the objective."""

    def check(self, objective: Objective) -> None:
        if type(objective).relabelled is Objective.relabelled:
            needed = "an objective that relabels, such as SemanticBackdoor"
            raise ValueError(f"{self!r}: expected {needed}, found {objective!r}")

    def craft(self, view: View, generator: torch.Generator) -> Matrix:
        labels = view.objective.relabelled(view.local.labels, view.classes)
        work = view.work(view.local._replace(labels=labels), generator.initial_seed())
        return view.clients.updates(work).rows()

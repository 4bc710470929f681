"""The edge-case backdoor: rare inputs of one class shall be taken for another (Wang et al., NeurIPS 2020)."""

import numpy as np
import torch
from pydantic import Field

from sparsefed.attacks.objectives.base import Auxiliary, Points
from sparsefed.attacks.objectives.semantic import SemanticBackdoor
from sparsefed.core.errors import SpecError
from sparsefed.data import Dataset

__all__ = ["EdgeCase"]


class EdgeCase(SemanticBackdoor):
    """The p-edge cases of class `source`: its least likely inputs under a Gaussian fitted to the class.

    The paper takes them from another data set (ARDIS sevens beside MNIST's) and defines them by a density, as
    here: the first principal components of the class's training inputs. The attackers train on the rarest
    training inputs; success is measured on the rarest test inputs, which honest clients hardly contradict.
    """

    share: float = Field(default=0.1, gt=0, le=1)
    """p, the share of the class that counts as rare."""
    components: int = Field(default=20, gt=0)
    """How many principal components the density has."""

    def auxiliary(self, dataset: Dataset, seed: int) -> Auxiliary:
        """Raises `SpecError` where a class does not exist or is too small for a density."""
        source, target = self.pair(dataset)
        truth = dataset.test.y
        mine = torch.nonzero(dataset.train.y == source).flatten()
        theirs = torch.nonzero(truth == source).flatten()
        if len(mine) < 2 or len(theirs) == 0:
            found = f"{len(mine)} to train and {len(theirs)} to test"
            needed = "expected a class of 2 examples to train and 1 to test"
            raise SpecError(f"{needed}, found {found}", ["source"], repr(self))
        rare = self._rarest(dataset.train.x[mine], dataset.train.x[mine])
        aimed = theirs[self._rarest(dataset.train.x[mine], dataset.test.x[theirs])]
        inputs = dataset.inputs(dataset.train.x[mine[rare]])
        goal = Points(dataset.inputs(dataset.test.x[aimed]), truth.new_full((len(aimed),), target))
        labels = truth.new_full((len(rare),), target)
        return Auxiliary(inputs, labels, aimed.cpu().numpy(), goal)

    def _rarest(self, known: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
        """Positions of the least likely of `asked`, ascending; at least one."""
        from sklearn.decomposition import PCA

        flat = [part.flatten(1).double().cpu().numpy() for part in (known, asked)]
        model = PCA(min(self.components, len(flat[0]) - 1, flat[0].shape[1]), svd_solver="full").fit(flat[0])
        scores = model.transform(flat[1]) / np.sqrt(np.maximum(model.explained_variance_, 1e-12))
        count = max(1, round(self.share * len(asked)))
        rare = np.sort(np.argsort(-np.square(scores).sum(axis=1), kind="stable")[:count])
        return torch.from_numpy(rare).to(asked.device)

"""From an experiment to its certificate: one unattacked run, then any threat against it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch

from sparsefed.attacks import Pool
from sparsefed.certify.along import Step, check_covered, features, steps
from sparsefed.certify.budget import Counting, Known, OncePerEpoch, Threat
from sparsefed.certify.case import Case
from sparsefed.certify.certificate import Certificate, Points, bounds, gaps, l1_reach, l2_reach
from sparsefed.core.errors import SpecError
from sparsefed.core.origin import origin_of
from sparsefed.defenses import Mean, SparseFed
from sparsefed.federation.experiment import Experiment
from sparsefed.federation.round import Federation
from sparsefed.models import Linear

__all__ = ["Study", "certificate"]


def certificate(
    experiment: Experiment,
    *,
    lipschitz: float | None = None,
    compromised: int | None = None,
    counting: Counting | None = None,
) -> Certificate:
    """Run an experiment without its attack, and bound what the attack, and any like it, can do.

    `lipschitz` is c for a model whose constant is not known here (every single client must obey it);
    `compromised` how many clients the attacker holds, in all rounds, if not as the experiment's attack
    has it; `counting` how many of them meet in a round (default: as this project samples, each client at
    most once per epoch). Raises SpecError where the theory does not cover the experiment.
    """
    return Study.of(experiment, lipschitz).against(compromised, counting)


@dataclass(frozen=True)
class Study:
    """An experiment whose unattacked run is done: certificates against other threats cost little now."""

    fed: Federation
    case: Case
    points: Points | None

    @classmethod
    def of(cls, spec: Experiment, lipschitz: float | None = None) -> "Study":
        """Run the unattacked experiment; raises SpecError where the theory does not cover it."""
        check_covered(spec, lipschitz)
        fed = Federation.of(spec)
        return cls.after(fed, steps(fed, lipschitz))

    @classmethod
    def after(cls, fed: Federation, run: Iterable[Step]) -> "Study":
        """The study of a run that someone else drives, with a progress bar around it, say."""
        done, defense = tuple(run), fed.spec.defense
        case = Case(
            params=fed.network.size,
            k=defense.k if isinstance(defense, SparseFed) else None,
            momentum=defense.momentum if isinstance(defense, Mean | SparseFed) else 0.0,
            steps=done,
            threat=Threat(len(fed.population), fed.spec.cohort, int(fed.compromised.sum())),
            counting=OncePerEpoch(),
            attacked=np.ones(len(done), bool),
        )
        return cls(fed, case, _points(fed, done[-1].params))

    def against(self, compromised: int | None = None, counting: Counting | None = None) -> Certificate:
        """The certificate against the experiment's own attack, or against so many compromised clients."""
        if compromised is not None:
            threat = self.case.threat._replace(compromised=compromised).checked()
            case = replace(self.case, threat=threat)
        elif self.fed.spec.attack is not None:
            case = self._under_attack()
        else:
            with origin_of(self.fed.spec).about():
                raise SpecError("the certificate: expected an `attack` or `--compromised`, found neither")
        case = case if counting is None else replace(case, counting=counting)
        return Certificate(case, self.points, bounds(case, self.points))

    def _under_attack(self) -> Case:
        """The rounds and clients of the experiment's attack: a sampled pool, or so many of each cohort."""
        fed, case = self.fed, self.case
        rounds, presence = range(1, fed.spec.rounds + 1), fed.attack.presence
        if isinstance(presence, Pool):
            return replace(case, attacked=np.array([presence.attacks_in(t) for t in rounds]))
        met = tuple(int(fed.attacking(fed.cohort(t), t).sum()) for t in rounds)
        threat = case.threat._replace(compromised=max(met))
        return replace(case, threat=threat, counting=Known(rounds=met), attacked=np.array(met) > 0)


def _points(fed: Federation, params: torch.Tensor) -> Points | None:
    if not isinstance(fed.spec.model, Linear):
        return None
    inputs = features(fed, fed.dataset.inputs(fed.dataset.test.x))
    views = [view.double().reshape(fed.dataset.classes, -1) for view in fed.network.views(params)]
    logits = inputs @ torch.cat(views, dim=1).T
    return Points(gaps(logits, fed.dataset.test.y), {"ℓ1": l1_reach(inputs), "ℓ2": l2_reach(inputs)})

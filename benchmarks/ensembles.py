"""All groups of an ensemble trained together, against one group after the other."""

import numpy as np

from benchmarks.harness import Contender, Goal, Row
from sparsefed.certify.votes import Hashed, Ridge
from sparsefed.certify.votes.together import stackable, trained_together
from sparsefed.certify.votes.trainers import federation_of, trained
from sparsefed.data import IID, Digits
from sparsefed.defenses import Mean
from sparsefed.federation.experiment import Experiment
from sparsefed.federation.round import Federation
from sparsefed.models import Linear
from sparsefed.protocol.clips import FixedClip
from sparsefed.protocol.schedules import Constant

GROUPS, CLIENTS = 100, 600


def federation() -> Federation:
    return Federation.of(
        Experiment(
            rounds=3,
            cohort=CLIENTS,
            data=Digits(),
            partition=IID(clients=CLIENTS),
            model=Linear(zeros=True),
            schedule=Constant(value=1.0),
            clip=FixedClip(norm=1.0),
            defense=Mean(),
        )
    )


def rounds() -> dict[str, Contender]:
    """Softmax regression within 100 groups of 6 clients, 3 rounds, clipped gradients."""
    fed = federation()
    feds = [federation_of(fed, group) for group in Hashed(groups=GROUPS).members(CLIENTS, 0)]
    training = stackable(fed)
    return {
        "together": lambda: trained_together(feds, training),
        "one after the other": lambda: [trained(own) for own in feds],
    }


def ridge() -> dict[str, Contender]:
    """Ridge regression within the same groups."""
    fed, own = federation(), Ridge()
    groups = Hashed(groups=GROUPS).members(CLIENTS, 0)
    return {
        "together": lambda: own.opinions(fed, groups),
        "one after the other": lambda: np.stack([own.opinions(fed, [group]).votes for group in groups]),
    }


ROWS = {
    "ensemble-rounds": Row(
        "100 groups, 3 rounds each: together / one after the other", Goal("≥", 2.0), rounds
    ),
    "ensemble-ridge": Row("100 ridge regressions: together / one after the other", Goal("≥", 1.0), ridge),
}

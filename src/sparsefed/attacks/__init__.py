"""Attacks: objectives (what), presence (who and when) and methods (how), free to combine."""

from sparsefed.attacks.adaptive import Adaptive
from sparsefed.attacks.base import Attack, Colluding, Method, Objective, Presence
from sparsefed.attacks.boosting import Boosting
from sparsefed.attacks.byzantine import Gaussian, SignFlip
from sparsefed.attacks.independent import Independent
from sparsefed.attacks.label_flip import LabelFlip
from sparsefed.attacks.model_replacement import ModelReplacement
from sparsefed.attacks.pgd import PGD
from sparsefed.attacks.presence import FixedPerRound, Once, Pool
from sparsefed.attacks.semantic import SemanticBackdoor
from sparsefed.attacks.targeted import Targeted, TargetedFirst
from sparsefed.attacks.trigger import TriggerBackdoor
from sparsefed.attacks.untargeted import Untargeted
from sparsefed.attacks.view import Auxiliary, Grant, Nothing, Points, Server, View
from sparsefed.attacks.words import WordBackdoor

__all__ = [
    "PGD",
    "Adaptive",
    "Attack",
    "Auxiliary",
    "Boosting",
    "Colluding",
    "FixedPerRound",
    "Gaussian",
    "Grant",
    "Independent",
    "LabelFlip",
    "Method",
    "ModelReplacement",
    "Nothing",
    "Objective",
    "Once",
    "Points",
    "Pool",
    "Presence",
    "SemanticBackdoor",
    "Server",
    "SignFlip",
    "Targeted",
    "TargetedFirst",
    "TriggerBackdoor",
    "Untargeted",
    "View",
    "WordBackdoor",
]

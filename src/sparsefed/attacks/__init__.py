"""Attacks: objectives (what), presence (who and when) and methods (how), free to combine."""

from sparsefed.attacks.adaptive import Adaptive
from sparsefed.attacks.alternating import AlternatingMinimisation
from sparsefed.attacks.base import Attack, Colluding, Method, Objective, Presence
from sparsefed.attacks.boosting import Boosting
from sparsefed.attacks.byzantine import Gaussian, SignFlip
from sparsefed.attacks.coordinate_aware import CoordinateAware
from sparsefed.attacks.fang import FangKrum, FangTrimmedMean
from sparsefed.attacks.independent import Independent
from sparsefed.attacks.label_flip import LabelFlip
from sparsefed.attacks.model_replacement import ModelReplacement
from sparsefed.attacks.nobody import Nobody
from sparsefed.attacks.pgd import PGD
from sparsefed.attacks.presence import FixedPerRound, Once, Pool
from sparsefed.attacks.semantic import SemanticBackdoor
from sparsefed.attacks.slow_drip import SlowDrip
from sparsefed.attacks.targeted import Targeted, TargetedFirst
from sparsefed.attacks.trigger import TriggerBackdoor
from sparsefed.attacks.untargeted import Untargeted
from sparsefed.attacks.view import Auxiliary, Grant, Nothing, Points, Server, View
from sparsefed.attacks.words import WordBackdoor

__all__ = [
    "PGD",
    "Adaptive",
    "AlternatingMinimisation",
    "Attack",
    "Auxiliary",
    "Boosting",
    "Colluding",
    "CoordinateAware",
    "FangKrum",
    "FangTrimmedMean",
    "FixedPerRound",
    "Gaussian",
    "Grant",
    "Independent",
    "LabelFlip",
    "Method",
    "ModelReplacement",
    "Nobody",
    "Nothing",
    "Objective",
    "Once",
    "Points",
    "Pool",
    "Presence",
    "SemanticBackdoor",
    "Server",
    "SignFlip",
    "SlowDrip",
    "Targeted",
    "TargetedFirst",
    "TriggerBackdoor",
    "Untargeted",
    "View",
    "WordBackdoor",
]

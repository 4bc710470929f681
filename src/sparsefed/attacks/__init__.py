"""Attacks: objectives (what), presence (who and when) and methods (how), free to combine."""

from sparsefed.attacks.base import Attack, Colluding, Method, Presence
from sparsefed.attacks.methods.adaptive import Adaptive
from sparsefed.attacks.methods.alternating import AlternatingMinimisation
from sparsefed.attacks.methods.boosting import Boosting
from sparsefed.attacks.methods.byzantine import Gaussian, SignFlip
from sparsefed.attacks.methods.coordinate_aware import CoordinateAware
from sparsefed.attacks.methods.easiest_first import EasiestFirst
from sparsefed.attacks.methods.equilibrium import Equilibrium
from sparsefed.attacks.methods.fang import FangKrum, FangTrimmedMean
from sparsefed.attacks.methods.independent import Independent
from sparsefed.attacks.methods.label_flip import LabelFlip
from sparsefed.attacks.methods.model_replacement import ModelReplacement
from sparsefed.attacks.methods.pgd import PGD
from sparsefed.attacks.methods.slow_drip import SlowDrip
from sparsefed.attacks.objectives.base import Auxiliary, Objective, Points
from sparsefed.attacks.objectives.semantic import SemanticBackdoor
from sparsefed.attacks.objectives.targeted import Targeted, TargetedFirst
from sparsefed.attacks.objectives.trigger import TriggerBackdoor
from sparsefed.attacks.objectives.untargeted import Untargeted
from sparsefed.attacks.objectives.words import WordBackdoor
from sparsefed.attacks.presence import FixedPerRound, Nobody, Once, Pool
from sparsefed.attacks.view import Grant, Nothing, Server, View

__all__ = [
    "PGD",
    "Adaptive",
    "AlternatingMinimisation",
    "Attack",
    "Auxiliary",
    "Boosting",
    "Colluding",
    "CoordinateAware",
    "EasiestFirst",
    "Equilibrium",
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

"""Attacks: objectives (what), presence (who and when) and methods (how), free to combine."""

from sparsefed.attacks.base import Attack, Colluding, Method, Presence
from sparsefed.attacks.methods.a3fl import A3FL
from sparsefed.attacks.methods.adaptive import Adaptive
from sparsefed.attacks.methods.alternating import AlternatingMinimization
from sparsefed.attacks.methods.best import Best
from sparsefed.attacks.methods.blended import Blended
from sparsefed.attacks.methods.boosting import Boosting
from sparsefed.attacks.methods.byzantine import Gaussian, SignFlip
from sparsefed.attacks.methods.chameleon import Chameleon
from sparsefed.attacks.methods.constrain_and_scale import ConstrainAndScale
from sparsefed.attacks.methods.coordinate_aware import CoordinateAware
from sparsefed.attacks.methods.critical_layers import CriticalLayers
from sparsefed.attacks.methods.easiest_first import EasiestFirst
from sparsefed.attacks.methods.equilibrium import Equilibrium
from sparsefed.attacks.methods.fang import FangKrum, FangTrimmedMean
from sparsefed.attacks.methods.far_pgd import FarPGD
from sparsefed.attacks.methods.independent import Independent
from sparsefed.attacks.methods.inner_product import IPM, OptimizedIPM
from sparsefed.attacks.methods.label_flip import LabelFlip
from sparsefed.attacks.methods.little_is_enough import ALIE, OptimizedALIE
from sparsefed.attacks.methods.mimic import Mimic
from sparsefed.attacks.methods.min_max import (
    InverseSign,
    InverseStd,
    InverseUnit,
    MinMax,
    MinSum,
    Perturbation,
)
from sparsefed.attacks.methods.model_replacement import ModelReplacement
from sparsefed.attacks.methods.neurotoxin import Neurotoxin
from sparsefed.attacks.methods.pgd import PGD
from sparsefed.attacks.methods.poisoned_fl import PoisonedFL
from sparsefed.attacks.methods.slow_drip import SlowDrip
from sparsefed.attacks.objectives.base import Auxiliary, Objective, Points
from sparsefed.attacks.objectives.distributed_trigger import DistributedTrigger
from sparsefed.attacks.objectives.edge_case import EdgeCase
from sparsefed.attacks.objectives.semantic import SemanticBackdoor
from sparsefed.attacks.objectives.targeted import Targeted, TargetedFirst
from sparsefed.attacks.objectives.trigger import TriggerBackdoor
from sparsefed.attacks.objectives.untargeted import Untargeted
from sparsefed.attacks.objectives.words import WordBackdoor
from sparsefed.attacks.presence import FixedPerRound, Nobody, Once, Pool
from sparsefed.attacks.view import Grant, Nothing, Server, View

__all__ = [
    "A3FL",
    "Best",
    "Chameleon",
    "ConstrainAndScale",
    "CriticalLayers",
    "IPM",
    "OptimizedIPM",
    "ALIE",
    "OptimizedALIE",
    "InverseSign",
    "InverseStd",
    "InverseUnit",
    "MinMax",
    "MinSum",
    "Perturbation",
    "Mimic",
    "Neurotoxin",
    "PoisonedFL",
    "DistributedTrigger",
    "EdgeCase",
    "PGD",
    "Adaptive",
    "AlternatingMinimization",
    "Attack",
    "Auxiliary",
    "Blended",
    "Boosting",
    "Colluding",
    "CoordinateAware",
    "EasiestFirst",
    "Equilibrium",
    "FangKrum",
    "FangTrimmedMean",
    "FarPGD",
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

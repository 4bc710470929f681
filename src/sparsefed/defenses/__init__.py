"""𝒜: one file per published defense."""

from sparsefed.defenses.auto import AutoSparseFed
from sparsefed.defenses.base import Aggregate, Defense
from sparsefed.defenses.bulyan import Bulyan, PaperBulyan
from sparsefed.defenses.centered_clipping import CenteredClipping
from sparsefed.defenses.cost import Cost
from sparsefed.defenses.crfl import CRFL
from sparsefed.defenses.dnc import DnC
from sparsefed.defenses.fetchsgd import FetchSGD, PaperFetchSGD
from sparsefed.defenses.flame import FLAME
from sparsefed.defenses.fltrust import FLTrust
from sparsefed.defenses.foolsgold import FoolsGold
from sparsefed.defenses.krum import Krum, MultiKrum, PaperKrum
from sparsefed.defenses.lasa import LASA
from sparsefed.defenses.masking import Masking, NoMasking, SubtractMasking, ZeroMasking
from sparsefed.defenses.mda import MDA
from sparsefed.defenses.mean import Mean
from sparsefed.defenses.mean_around_median import MeanAroundMedian
from sparsefed.defenses.median import Median
from sparsefed.defenses.mixing import ARC, NNM, Bucketing
from sparsefed.defenses.monna import MoNNA
from sparsefed.defenses.noise import GaussianNoise, LiteralNoise
from sparsefed.defenses.rfa import RFA
from sparsefed.defenses.rlr import RLR
from sparsefed.defenses.sign_majority import SignMajority
from sparsefed.defenses.sparsefed import SparseFed
from sparsefed.defenses.trimmed_mean import TrimmedMean

__all__ = [
    "ARC",
    "CRFL",
    "FLAME",
    "LASA",
    "MDA",
    "NNM",
    "RFA",
    "RLR",
    "Aggregate",
    "AutoSparseFed",
    "Bucketing",
    "Bulyan",
    "CenteredClipping",
    "Cost",
    "Defense",
    "DnC",
    "FLTrust",
    "FetchSGD",
    "FoolsGold",
    "GaussianNoise",
    "Krum",
    "LiteralNoise",
    "Masking",
    "Mean",
    "MeanAroundMedian",
    "Median",
    "MoNNA",
    "MultiKrum",
    "NoMasking",
    "PaperBulyan",
    "PaperFetchSGD",
    "PaperKrum",
    "SignMajority",
    "SparseFed",
    "SubtractMasking",
    "TrimmedMean",
    "ZeroMasking",
]

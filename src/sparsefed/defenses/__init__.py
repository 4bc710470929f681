"""𝒜: one file per published defense."""

from sparsefed.defenses.auto import AutoSparseFed
from sparsefed.defenses.base import Aggregate, Defense
from sparsefed.defenses.bulyan import Bulyan, PaperBulyan
from sparsefed.defenses.fetchsgd import FetchSGD, PaperFetchSGD
from sparsefed.defenses.krum import Krum, MultiKrum, PaperKrum
from sparsefed.defenses.masking import Masking, NoMasking, SubtractMasking, ZeroMasking
from sparsefed.defenses.mean import Mean
from sparsefed.defenses.median import Median
from sparsefed.defenses.noise import GaussianNoise, LiteralNoise
from sparsefed.defenses.sparsefed import SparseFed
from sparsefed.defenses.trimmed_mean import TrimmedMean

__all__ = [
    "Aggregate",
    "AutoSparseFed",
    "Bulyan",
    "Defense",
    "FetchSGD",
    "GaussianNoise",
    "Krum",
    "LiteralNoise",
    "Masking",
    "Mean",
    "Median",
    "MultiKrum",
    "NoMasking",
    "PaperBulyan",
    "PaperFetchSGD",
    "PaperKrum",
    "SparseFed",
    "SubtractMasking",
    "TrimmedMean",
    "ZeroMasking",
]

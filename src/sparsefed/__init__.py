"""Federated learning among poisoners: SparseFed, its attacks, its rivals and its certificate."""

from importlib.metadata import version

__version__ = version("sparsefed")

from sparsefed import certify
from sparsefed.attacks import PGD, Attack, Pool, Targeted
from sparsefed.clients import FedAvg, Gradient
from sparsefed.clips import AdaptiveClip, FixedClip, QuantileClip, Unclipped
from sparsefed.defenses import (
    AutoSparseFed,
    Bulyan,
    FetchSGD,
    GaussianNoise,
    Krum,
    LiteralNoise,
    Mean,
    Median,
    MultiKrum,
    PaperBulyan,
    PaperFetchSGD,
    PaperKrum,
    SparseFed,
    TrimmedMean,
)
from sparsefed.errors import DataError, RunError, SparseFedError, SpecError, UpdateError
from sparsefed.experiment import Experiment, read_experiment
from sparsefed.federation import Federation, ServerState, run_round
from sparsefed.schedules import Constant, Triangular
from sparsefed.simulate import play, simulate
from sparsefed.updates import Updates, dense

__all__ = [
    "PGD",
    "AdaptiveClip",
    "Attack",
    "AutoSparseFed",
    "Bulyan",
    "Constant",
    "DataError",
    "Experiment",
    "FedAvg",
    "Federation",
    "FetchSGD",
    "FixedClip",
    "GaussianNoise",
    "Gradient",
    "Krum",
    "LiteralNoise",
    "Mean",
    "Median",
    "MultiKrum",
    "PaperBulyan",
    "PaperFetchSGD",
    "PaperKrum",
    "Pool",
    "QuantileClip",
    "RunError",
    "ServerState",
    "SparseFed",
    "SparseFedError",
    "SpecError",
    "Targeted",
    "Triangular",
    "TrimmedMean",
    "Unclipped",
    "UpdateError",
    "Updates",
    "certify",
    "dense",
    "play",
    "read_experiment",
    "run_round",
    "simulate",
]

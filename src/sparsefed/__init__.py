"""Federated learning among poisoners: SparseFed, its attacks, its rivals and its certificate."""

from importlib.metadata import version

__version__ = version("sparsefed")

from sparsefed import certify
from sparsefed.attacks import PGD, Attack, Pool, Targeted
from sparsefed.clients import FedAvg, Gradient
from sparsefed.core.errors import DataError, RunError, SparseFedError, SpecError, UpdateError
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
from sparsefed.federation.experiment import Experiment, read_experiment
from sparsefed.federation.round import Federation, ServerState, run_round
from sparsefed.protocol.clips import AdaptiveClip, FixedClip, QuantileClip, Unclipped
from sparsefed.protocol.schedules import Constant, Triangular
from sparsefed.protocol.updates import Updates, dense
from sparsefed.runs.simulate import play, simulate

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

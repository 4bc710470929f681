"""Federated learning among poisoners: SparseFed, its attacks, its rivals and its certificate."""

from importlib.metadata import version

__version__ = version("sparsefed")

from sparsefed import certify
from sparsefed.attacks import (
    PGD,
    Attack,
    Colluding,
    Grant,
    Method,
    Objective,
    Pool,
    Presence,
    Targeted,
    View,
)
from sparsefed.clients import Clients, FedAvg, Gradient
from sparsefed.core.errors import DataError, RunError, SparseFedError, SpecError, UpdateError
from sparsefed.data import Data, Dataset, Partition, Population
from sparsefed.defenses import (
    Aggregate,
    AutoSparseFed,
    Bulyan,
    Defense,
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
from sparsefed.models import Model
from sparsefed.protocol.clips import AdaptiveClip, Clip, FixedClip, QuantileClip, Unclipped
from sparsefed.protocol.schedules import Constant, Schedule, Triangular
from sparsefed.protocol.updates import Updates, dense
from sparsefed.runs.simulate import play, simulate

__all__ = [
    "AdaptiveClip",
    "Aggregate",
    "Attack",
    "AutoSparseFed",
    "Bulyan",
    "Clients",
    "Clip",
    "Colluding",
    "Constant",
    "Data",
    "DataError",
    "Dataset",
    "Defense",
    "Experiment",
    "FedAvg",
    "Federation",
    "FetchSGD",
    "FixedClip",
    "GaussianNoise",
    "Gradient",
    "Grant",
    "Krum",
    "LiteralNoise",
    "Mean",
    "Median",
    "Method",
    "Model",
    "MultiKrum",
    "Objective",
    "PGD",
    "PaperBulyan",
    "PaperFetchSGD",
    "PaperKrum",
    "Partition",
    "Pool",
    "Population",
    "Presence",
    "QuantileClip",
    "RunError",
    "Schedule",
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
    "View",
    "certify",
    "dense",
    "play",
    "read_experiment",
    "run_round",
    "simulate",
]

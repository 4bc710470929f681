"""Federated learning under attack: SparseFed, attacks, competing defenses, and certificates."""

# Every public name and where it lives; the package imports each on first use.

from . import certify as certify, models as models
from .attacks import (
    PGD as PGD,
    Attack as Attack,
    Colluding as Colluding,
    Grant as Grant,
    Method as Method,
    Objective as Objective,
    Pool as Pool,
    Presence as Presence,
    Targeted as Targeted,
    View as View,
)
from .clients import (
    Clients as Clients,
    FedAvg as FedAvg,
    Gradient as Gradient,
)
from .core.errors import (
    DataError as DataError,
    RunError as RunError,
    SparseFedError as SparseFedError,
    SpecError as SpecError,
    UpdateError as UpdateError,
)
from .core.version import __version__ as __version__
from .data import (
    Data as Data,
    Dataset as Dataset,
    Partition as Partition,
    Population as Population,
)
from .defenses import (
    ARC as ARC,
    CRFL as CRFL,
    FLAME as FLAME,
    LASA as LASA,
    MDA as MDA,
    NNM as NNM,
    RFA as RFA,
    RLR as RLR,
    Aggregate as Aggregate,
    AutoSparseFed as AutoSparseFed,
    Bucketing as Bucketing,
    Bulyan as Bulyan,
    CenteredClipping as CenteredClipping,
    Defense as Defense,
    DnC as DnC,
    FetchSGD as FetchSGD,
    FLTrust as FLTrust,
    FoolsGold as FoolsGold,
    GaussianNoise as GaussianNoise,
    Krum as Krum,
    LiteralNoise as LiteralNoise,
    Mean as Mean,
    MeanAroundMedian as MeanAroundMedian,
    Median as Median,
    MoNNA as MoNNA,
    MultiKrum as MultiKrum,
    PaperBulyan as PaperBulyan,
    PaperFetchSGD as PaperFetchSGD,
    PaperKrum as PaperKrum,
    SignMajority as SignMajority,
    SparseFed as SparseFed,
    TrimmedMean as TrimmedMean,
)
from .federation.experiment import (
    Experiment as Experiment,
    read_experiment as read_experiment,
)
from .federation.round import (
    Federation as Federation,
    ServerState as ServerState,
    run_round as run_round,
)
from .models import (
    Model as Model,
)
from .protocol.aggregation import (
    Aggregation as Aggregation,
    Pine as Pine,
    Plain as Plain,
    VerifiedPine as VerifiedPine,
)
from .protocol.anchors import (
    Anchor as Anchor,
    InitialModel as InitialModel,
    Unanchored as Unanchored,
)
from .protocol.clips import (
    AdaptiveClip as AdaptiveClip,
    Clip as Clip,
    FixedClip as FixedClip,
    QuantileClip as QuantileClip,
    Unclipped as Unclipped,
)
from .protocol.dense import (
    dense as dense,
)
from .protocol.schedules import (
    Constant as Constant,
    Schedule as Schedule,
    Triangular as Triangular,
)
from .protocol.updates import (
    Updates as Updates,
)
from .runs.simulate import (
    play as play,
    simulate as simulate,
)

"""Verified norm bounds under secure aggregation: PINE for two aggregators."""

from sparsefed.secagg.encoding import FixedPoint
from sparsefed.secagg.errors import InvalidProof, Malformed, Rejected, SeedMismatch
from sparsefed.secagg.parameters import Parameters
from sparsefed.secagg.pine import Pine, Prepared, Report

__all__ = [
    "FixedPoint",
    "InvalidProof",
    "Malformed",
    "Parameters",
    "Pine",
    "Prepared",
    "Rejected",
    "Report",
    "SeedMismatch",
]

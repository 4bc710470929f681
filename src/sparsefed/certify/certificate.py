"""What every radius of a case is worth: certified accuracy where the model is linear, or the word vacuous.

From a radius to predictions: which test points no poisoning within the budget can turn.

For a linear model the gap between logits y and j changes by (Δθ_y − Δθ_j)·x. In ℓ1 that is at most
‖Δθ_y‖₁‖x‖∞ + ‖Δθ_j‖₁‖x‖∞ ≤ ‖Δθ‖₁ ‖x‖∞, attained by moving one weight; in ℓ2 at most √2 ‖x‖₂ ‖Δθ‖₂,
attained by moving rows y and j apart. So a prediction survives R where its gap is above R times that
reach. With a bias, x has one more feature, which is 1. For other models there is no such bound here.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sparsefed.certify.case import Case, Radius
from sparsefed.core.errors import SpecError

__all__ = [
    "Bound",
    "Certificate",
    "Points",
    "bounds",
    "certified_accuracy",
    "gaps",
    "l1_reach",
    "l2_reach",
    "surviving",
]


CERTIFIED, VACUOUS, ESTIMATE, OTHER = "certified", "vacuous", "estimate", "comparison"


class Points(NamedTuple):
    """The test points of a linear model."""

    gaps: Tensor
    """Logit of the right class minus the best other, of the unattacked model, `[points]`."""
    reach: dict[str, Tensor]
    """How far a unit of radius moves a gap, `[points]`, by the radius' norm."""

    def certified(self, norm: str, log_radius: float) -> float:
        """Percent that are right, and stay right."""
        return 100 * float(surviving(self.gaps, self.reach[norm], log_radius).double().mean())

    @property
    def accuracy(self) -> float:
        """Percent that are right."""
        return 100 * float((self.gaps > 0).double().mean())


class Bound(NamedTuple):
    """One line of a certificate."""

    name: str
    norm: str
    """The norm of the distance: ℓ1 or ℓ2."""
    log_radius: float | None
    """Natural logarithm of R; None where the bound does not apply."""
    certified: float | None
    """Percent of the test points that are right and stay right; None where that is not claimed."""
    verdict: str
    """`certified`, `vacuous`, `estimate`, `comparison`, `does not apply` or `not valid`."""
    why: str
    """What R is made of, or why there is none."""


@dataclass(frozen=True)
class Certificate:
    """What is proven about a protocol under a threat."""

    case: Case
    points: Points | None
    """None for models that are not linear."""
    bounds: tuple[Bound, ...]

    @property
    def certified(self) -> float | None:
        """Percent of test points that the best proven bound holds; None for models that are not linear."""
        if self.points is None:
            return None
        return max((b.certified or 0.0 for b in self.bounds if b.verdict == CERTIFIED), default=0.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `log10_radius` is None where a bound does not apply or the radius is 0.

        `certified` has, for each proven bound, the percentage against the number of compromised clients.
        """
        case = self.case
        return {
            **case.threat._asdict(),
            "compromised_per_round": int(case.counts(case.lrs).max()),
            "rounds": len(case.steps),
            "params": case.params,
            "k": case.k,
            "test_accuracy": self.points.accuracy if self.points else None,
            "certified": {
                bound.name: {str(case.threat.compromised): bound.certified}
                for bound in self.bounds
                if bound.verdict in {CERTIFIED, VACUOUS} and bound.certified is not None
            },
            "bounds": [_plain(bound) for bound in self.bounds],
        }


def bounds(case: Case, points: Points | None) -> tuple[Bound, ...]:
    """Every bound that the theory offers, the printed one included, with its verdict."""
    trivial = case.sizes_alone()
    if case.k is None:
        own = [("mean, recursion", CERTIFIED, case.dense())]
    else:
        own = [
            ("mean instead", OTHER, case.dense()),
            ("SparseFed, γ a priori", CERTIFIED, case.sparse()),
            ("SparseFed, γ measured", ESTIMATE, case.sparse_as_measured()),
        ]
        if case.counts_memory_once:
            own.append(("SparseFed, memory once", CERTIFIED, case.memory()))
    lines = [
        _bound(name, "ℓ1", radius, _judged(verdict, radius, trivial), points) for name, verdict, radius in own
    ]
    lines.append(_bound("update sizes alone", "ℓ1", trivial, CERTIFIED if points else VACUOUS, points))
    if case.stiffness.any():
        lines.append(_bound("anchor, update sizes alone", "ℓ2", case.anchored(), CERTIFIED, points))
    return (*lines, _convex(case, points), _printed(case))


def _judged(verdict: str, radius: Radius, trivial: Radius) -> str:
    """A radius that the size of the updates guarantees anyway proves nothing."""
    return VACUOUS if verdict == CERTIFIED and radius.log >= trivial.log else verdict


def _bound(name: str, norm: str, radius: Radius, verdict: str, points: Points | None) -> Bound:
    certified = None if points is None or verdict == OTHER else points.certified(norm, radius.log)
    if verdict == CERTIFIED and certified == 0:
        verdict = VACUOUS
    return Bound(name, norm, radius.log, certified, verdict, _made_of(radius))


def _convex(case: Case, points: Points | None) -> Bound:
    radius, name = case.convex(), "convex loss, anchored" if case.stiffness.any() else "convex loss"
    if isinstance(radius, str):
        return Bound(name, "ℓ2", None, None, "does not apply", radius)
    return _bound(name, "ℓ2", radius, CERTIFIED, points)


def _printed(case: Case) -> Bound:
    value, valid, reason = case.printed()
    name = "Theorem 1, printed" if case.k is None else "Theorem 2, printed"
    return Bound(name, "ℓ1", value, None, "valid" if valid else "not valid", reason)


def _made_of(radius: Radius) -> str:
    """What dominates R; "clipped" where honest updates may be shortened."""
    if radius.log == -math.inf:
        return "no poison"
    clipped = "; clipped: larger a" if radius.clipped and radius.propagation else ""
    if radius.propagation > math.log(10):
        return f"propagation ×10^{radius.propagation / math.log(10):.3g}{clipped}"
    if radius.residue > radius.poison:
        return f"residue of top-k, {radius.residue / radius.poison:.3g}× the poison{clipped}"
    return f"poison, ρ ≤ {radius.poison:.3g}{clipped}" if radius.poison else "full length"


def _plain(bound: Bound) -> dict[str, Any]:
    """The bound for JSON, which knows no infinity."""
    fields = bound._asdict()
    log = fields.pop("log_radius")
    return {**fields, "log10_radius": None if log is None or math.isinf(log) else log / math.log(10)}


def l1_reach(inputs: Tensor) -> Tensor:
    """‖x‖∞ of each row of `[points, features]`: the most that a unit of ‖Δθ‖₁ changes a gap."""
    return inputs.double().abs().amax(1)


def l2_reach(inputs: Tensor) -> Tensor:
    """√2 ‖x‖₂ of each row: the most that a unit of ‖Δθ‖₂ changes a gap."""
    return math.sqrt(2) * torch.linalg.vector_norm(inputs.double(), dim=1)


def gaps(logits: Tensor, labels: Tensor) -> Tensor:
    """How far the logit of each label is above the best other one; negative where the model is wrong."""
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or logits.shape[1] < 2:
        found = f"{list(logits.shape)} and {list(labels.shape)}"
        raise SpecError(f"gaps: expected logits [points, classes] and labels [points], found {found}")
    logits = logits.double()
    own = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -math.inf)
    return (own - others.amax(1, keepdim=True)).squeeze(1)


def surviving(gap: Tensor, reach: Tensor, log_radius: float) -> Tensor:
    """Where gap > reach · R, bool; R is given by its logarithm, as it may not fit a float."""
    if math.isnan(log_radius):
        raise SpecError("expected a radius, found NaN")
    return (gap > 0) & (gap.log() > reach.log() + log_radius)


def certified_accuracy(logits: Tensor, labels: Tensor, reach: Tensor, log_radius: float) -> float:
    """Percent of points that are right and stay right under every attack within the radius."""
    return 100 * float(surviving(gaps(logits, labels), reach, log_radius).double().mean())

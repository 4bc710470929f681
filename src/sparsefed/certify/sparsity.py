"""γ and ω: how much of an update top-k leaves behind (Definitions 4 and 5, Lemmas 2 and 3).

A(u) − u = W_t − W_{t+1} + μ R_t, exactly, where W is the error and R the velocity that the round found:
γ can be measured from two consecutive memories. A certificate against *every* attack needs the
a-priori bound; a measured γ belongs to the run it was measured on, and certifies a pair of runs only
if it was measured on both.
"""

from typing import NamedTuple

from torch import Tensor

from sparsefed.certify.checks import fraction, nonnegative, whole
from sparsefed.certify.radius import width
from sparsefed.core.errors import SpecError
from sparsefed.defenses.base import Velocity
from sparsefed.defenses.sparsefed import Memory

__all__ = ["Sparsity", "measure", "memory_bound", "prior_gamma", "prior_omega"]


def prior_omega(params: int, k: int) -> float:
    """1 − k/d, the largest share of ℓ1 mass that top-k can lose, whatever the vector."""
    width(params, k)
    return 1 - k / params


def memory_bound(omega: float, mass: float, momentum: float = 0.0) -> float:
    """Lemma 2 with momentum: ‖W‖₁ ≤ mass/(1 − μ) · ω/(1 − ω).

    `mass` bounds ‖u_t‖₁ of every aggregated update, poisoned ones included: L√d always does.
    """
    omega, momentum = fraction("omega", omega), fraction("momentum", momentum)
    return nonnegative("mass", mass) / (1 - momentum) * omega / (1 - omega)


def prior_gamma(omega: float, mass: float, momentum: float = 0.0) -> float:
    """Lemma 3 with momentum: γ = mass/(1 − μ) · (2ω/(1 − ω) + μ); arguments as in `memory_bound`.

    Masking only shrinks the velocity, so the bound covers it. ω = 0 is the dense protocol with momentum.
    """
    carried = fraction("momentum", momentum) * nonnegative("mass", mass) / (1 - momentum)  # μ‖R‖₁
    return 2 * memory_bound(omega, mass, momentum) + carried


class Sparsity(NamedTuple):
    """What one round of a run shows of Definitions 4 and 5."""

    omega: float
    """ω_k: the share of ‖W + R‖₁ that stayed behind; 0 where nothing arrived."""
    gamma: float
    """γ_t = ‖A(u_t) − u_t‖₁."""
    moved: int
    """How many coordinates of the model changed: at most k."""


def measure(
    before: Memory | Velocity, after: Memory | Velocity, delta: Tensor, momentum: float = 0.0
) -> Sparsity:
    """γ_t and ω_k of the round that led from one memory of a defense to the next.

    `delta` is A(u_t), what the server subtracted divided by λ_t. Sums are in float64. Raises SpecError
    for memories that are neither SparseFed's nor the mean's.
    """
    momentum = fraction("momentum", momentum)
    moved = whole("moved", int(delta.count_nonzero()), least=0)
    if not isinstance(before, Memory | Velocity) or type(before) is not type(after):
        found = f"{type(before).__name__} and {type(after).__name__}"
        raise SpecError(f"measure: expected two memories of SparseFed or two of Mean, found {found}")
    gap = momentum * before.velocity.double()  # A(u) − u = W_t − W_{t+1} + μ R_t
    if isinstance(before, Velocity) or isinstance(after, Velocity):
        return Sparsity(0.0, _l1(gap), moved)
    kept, sent = _l1(after.error), _l1(delta)  # top-k splits W + R into two disjoint parts
    omega = kept / (kept + sent) if kept + sent else 0.0
    return Sparsity(omega, _l1(gap + before.error.double() - after.error.double()), moved)


def _l1(vector: Tensor) -> float:
    return float(vector.double().abs().sum())

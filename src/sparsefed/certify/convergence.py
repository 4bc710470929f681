"""How fast SparseFed converges without attack (Theorems 3 and 5, corrected).

For a constant learning rate η, no momentum and no clip that bites,

    min_t E‖∇ℒ(θ_t)‖² ≤ 2 (ℒ(θ₀) − ℒ*)/(η (T+1)) + η ℓ σ² + 4 η² ℓ² σ² (1−δ)/δ²,

with δ = k/d, ℓ the smoothness and E‖g‖² ≤ σ². The paper prints half of the middle term in Theorem 5:
the argument (descent on θ_t − ηW_t, then ⟨a, b⟩ ≥ −‖a‖²/2 − ‖b‖²/2) gives all of it. Theorem 3 is the
case η = 1/√(T+1), for the *squared* norm and a *constant* step; it prints neither, and "θ₀ − θ*" for a
difference of losses. Derived in `docs/certificate.md`.
"""

from sparsefed.certify.checks import nonnegative, whole
from sparsefed.certify.radius import width
from sparsefed.errors import SpecError

__all__ = ["convergence_bound"]


def convergence_bound(
    rounds: int, *, lr: float, excess_loss: float, smoothness: float, moment: float, params: int, k: int
) -> float:
    """The bound on the least squared gradient norm of rounds 0 … T.

    `excess_loss` is ℒ(θ₀) − ℒ*, or ℒ(θ₀) itself where the loss is never negative; `moment` is σ², a
    bound on the expected *squared* norm of an update. Raises SpecError for what is not positive.
    """
    width(params, k)
    lr, rounds = nonnegative("lr", lr), whole("rounds", rounds, least=0)
    if lr == 0:
        raise SpecError("lr needs a learning rate above 0, got 0")
    delta = k / params
    noise = nonnegative("smoothness", smoothness) * nonnegative("moment", moment)
    start = 2 * nonnegative("excess_loss", excess_loss) / (lr * (rounds + 1))
    return start + lr * noise + 4 * lr**2 * smoothness * noise * (1 - delta) / delta**2

"""A defense 𝒜: a pure function from a round's updates and a memory to the step that the server takes."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from sparsefed.core.errors import SpecError, UpdateError
from sparsefed.core.knobs import Knob, Knobs
from sparsefed.core.spec import Spec
from sparsefed.core.text import amount, named_type
from sparsefed.core.types import PerClient, Vector
from sparsefed.defenses.cost import Cost
from sparsefed.defenses.guard import GUARDS, restored, with_arrays
from sparsefed.defenses.privacy import Exposure, Guarantee
from sparsefed.kernels import all_finite
from sparsefed.protocol.updates import Dense, Updates, shares_of

__all__ = ["Aggregate", "Defense", "Velocity"]


class Velocity(NamedTuple):
    """The memory of a rule with server momentum."""

    velocity: Vector
    """R, the decaying sum of past aggregates."""


class Defense(Spec, family=True):
    """An aggregation rule with memory. State is passed, never kept: `init`, then `step` every round."""

    needs_rows: ClassVar[bool] = False
    """Whether the rule compares clients with one another, so that their updates must exist one by one."""
    needs_updates: ClassVar[bool] = True
    """Whether a round without a usable update is skipped, and not a step of the rule like any other."""
    needs_history: ClassVar[bool] = False
    """Whether the rule remembers each client, so that it must know who sent what."""
    cost: ClassVar[Cost] = Cost("nd", "d", sums=1)
    """What a round costs, and whether secure aggregation can deliver what the rule needs."""

    @property
    def least(self) -> int:
        """How many updates the rule needs, where it says so before a round."""
        return 1

    @property
    def server_examples(self) -> int:
        """How many training examples of its own the server must have."""
        return 0

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, guard in GUARDS.items():
            if name in vars(cls):
                setattr(cls, name, guard(vars(cls)[name]))

    @abstractmethod
    def init(self, params: Vector, seed: int = 0) -> Any:
        """The memory before the first round: a NamedTuple of tensors, or of arrays if `params` is an array.

        The memory and every step are of the precision of `params`, whatever the updates come in. A rule that
        draws random numbers draws them from `seed`, the run's, and remembers it.
        """

    @abstractmethod
    def step(self, updates: Updates, state: Any, lr: float = 1.0) -> tuple[Vector, Any]:
        """Aggregate one round.

        Returns delta, which the server subtracts from the model (λ is inside), and the new memory;
        `state` is left as it was. Raises `UpdateError` where the rule cannot work.
        """

    def load_state(self, saved: Mapping[str, Any], params: Vector) -> Any:
        """The memory that was saved as `state._asdict()`, for a model of parameters `params`.

        Tensors, arrays and lists alike. The memory is of the precision of `params`: numbers saved in another
        are converted where that changes none of them. Raises `UpdateError` where it would, and where names,
        shapes or types are not this rule's.
        """
        return restored(self, saved, self.init(params))

    def traffic(self, params: int) -> tuple[int, int]:
        """Numbers sent up and down per client and round; by default the whole vector both ways."""
        return params, params

    def privacy(self, exposure: Exposure, delta: float = 1e-5) -> Guarantee | None:
        """The differential privacy that this rule's noise gives; None for a rule that adds none."""
        return None

    def shares(self, updates: Updates) -> PerClient:
        """How much of each client's update got into the aggregate, from 0 (dropped) to 1 (all of it)."""
        return torch.ones(updates.count, dtype=torch.float64)

    def shares_in_round(self, updates: Updates, state: Any) -> PerClient:
        """`shares`, for a rule whose choice depends on its memory; `state` is the memory after the round."""
        return self.shares(updates)

    @with_arrays
    def diagnose(
        self, updates: Updates, state: Any, delta: Vector, lr: float = 1.0, honest: int | None = None
    ) -> dict[str, float]:
        """What the step from `updates` to `delta` and the new memory `state` did, in numbers.

        `kept` is how many of the updates let in the rule used, part of one counting as that part, and
        `dropped` how many it did not; rejected ones are in neither. `support` is how many coordinates moved.
        With `honest`, the number of honest clients, which come first, `compromised_kept` counts the others.
        Costs a pass over `delta`, and for rules that compare clients some milliseconds: what the step
        found out about `updates` is remembered there, and coordinates are sampled.
        """
        shares = self.shares_in_round(updates, state)
        kept = float(shares.sum())
        report = {
            "kept": kept,
            "dropped": updates.count - kept,
            "support": float(torch.count_nonzero(delta)),
        }
        return report if honest is None else {**report, "compromised_kept": float(shares[honest:].sum())}


class Aggregate(Defense):
    """A rule without memory of its own, followed by server momentum (Appendix B.1.3: line 15 replaced)."""

    knobs: ClassVar[Knobs] = {"momentum": Knob(0, 0.95)}

    momentum: float = Field(default=0.0, ge=0, lt=1)
    """ρ, the share of the velocity that survives a round."""

    @abstractmethod
    def aggregate(self, updates: Updates) -> Vector:
        """One vector that stands for all `updates`; raises `UpdateError` where the rule cannot work."""

    def init(self, params: Vector, seed: int = 0) -> Velocity:
        return Velocity(torch.zeros_like(params))

    def step(self, updates: Updates, state: Velocity, lr: float = 1.0) -> tuple[Vector, Velocity]:
        check_size(self, updates, state.velocity.numel())
        aggregate = as_precise(self, self._one_vector(updates, state.velocity), state.velocity)
        velocity = self.momentum * state.velocity + aggregate  # R ← ρR + u
        return lr * velocity, Velocity(velocity)  # θ ← θ − λR

    def _one_vector(self, updates: Updates, like: Vector) -> Vector:
        """What `aggregate` returns, checked to be a vector: shapes that broadcast would pass unseen."""
        found = self.aggregate(updates)
        if not (isinstance(found, Tensor) and found.shape == like.shape):
            shape = f"shape {list(found.shape)}" if isinstance(found, Tensor) else named_type(found)
            raise SpecError(f"{self!r}: expected an aggregate of shape {list(like.shape)}, found {shape}")
        return found


def check_size(rule: Defense, updates: Updates, size: int) -> None:
    """Refuse updates that do not fit the model of `size` parameters that the memory was made for."""
    if not isinstance(updates, Updates):
        found = named_type(updates)
        raise UpdateError(f"{rule!r}: expected updates made by `sparsefed.dense`, found {found}")
    if updates.size != size:
        raise UpdateError(f"{rule!r}: expected updates of {amount(size, 'parameter')}, found {updates.size}")


def as_precise(rule: Defense, aggregate: Vector, memory: Tensor) -> Vector:
    """An aggregate in the type and on the device of the server's memory."""
    own = aggregate.to(memory)
    if own.dtype != aggregate.dtype and not all_finite(own):
        kind = str(own.dtype).removeprefix("torch.")
        raise UpdateError(f"{rule!r}: expected an aggregate that {kind} can hold, found one that overflows")
    return own


def finite_mean(rule: Defense, updates: Updates, memory: Tensor | None = None) -> Vector:
    """The mean of the updates, finite before it can touch a memory, and as precise as the `memory`."""
    check_count(rule, updates, 1)
    mean = updates.mean()
    if not all_finite(mean):
        _check_finite(rule, updates)
    return mean if memory is None else as_precise(rule, mean, memory)


def finite_mean_of(
    rule: Defense, updates: Updates, linear: Callable[[Vector], Tensor], growth: float, memory: Tensor
) -> Tensor:
    """As `finite_mean`, of what a linear function makes of the updates."""
    check_count(rule, updates, 1)
    mean = updates.mean_of(linear, growth)
    if not all_finite(mean):
        _check_finite(rule, updates)
    return as_precise(rule, mean, memory)


def finite_rows(rule: Defense, updates: Updates, least: int) -> Dense:
    """The updates as a matrix, checked to be at least `least` in number, without weights, and all finite."""
    check_count(rule, updates, least)
    check_unweighted(rule, updates)
    rows = updates.as_dense()
    _check_finite(rule, rows)
    return rows


def finite_weighted_rows(rule: Defense, updates: Updates) -> tuple[Dense, PerClient]:
    """The updates as a matrix, all finite, and each client's share of the weight, in float64."""
    check_count(rule, updates, 1)
    rows = updates.as_dense()
    _check_finite(rule, rows)
    weights = torch.ones(rows.count, dtype=torch.float64) if updates.weights is None else updates.weights
    if not bool(weights.sum() > 0):
        sent = amount(rows.count, "update")
        raise UpdateError(f"{rule!r}: expected a weight above 0 among {sent}, found none")
    return rows, shares_of(weights)


def trusted_update(rule: Defense, updates: Updates) -> Vector:
    """The server's own update, for a rule that trusts it."""
    own = updates.aside.own
    if own is None or not bool(own.any()):
        found = "none" if own is None else "one of zeros"
        raise UpdateError(f"{rule!r}: expected an update of the server's own, found {found}")
    return own


def finite_distances(rule: Defense, updates: Updates, least: int) -> np.ndarray:
    """‖uᵢ − uⱼ‖² of all pairs, of updates checked as in `finite_rows`: what is not finite shows here too."""
    check_count(rule, updates, least)
    check_unweighted(rule, updates)
    rows = updates.as_dense()
    distances = rows.squared_distances()
    if not bool(distances.isfinite().all()):  # asking for norms first would be one more pass over the rows
        _check_finite(rule, rows)
    return distances.double().cpu().numpy()


def check_count(rule: Defense, updates: Updates, least: int) -> None:
    """Refuse fewer updates than the rule is defined for."""
    if updates.count < least:
        expected = f"expected at least {amount(least, 'update')}"
        raise UpdateError(f"{rule!r}: {expected}, found {updates.count}")


def check_unweighted(rule: Defense, updates: Updates) -> None:
    """Refuse weights, for a rule whose meaning or promise rests on counting every client once."""
    if updates.weights is not None:
        raise UpdateError(
            f"{rule!r} counts every client once: expected updates without weights, found weights"
        )


def _check_finite(rule: Defense, updates: Updates) -> None:
    bad = int((~updates.norms().isfinite()).sum())
    if bad:
        raise UpdateError(f"{rule!r}: expected finite updates, found {bad} that are not")

"""Knobs: the settings of a spec that a search may turn, declared by the spec itself."""

import math
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

__all__ = ["Knob", "Knobs", "knobs_of"]

_NOT_SEARCHED = {"attack", "data", "model", "partition"}
"""Parts of an experiment that are the question, not the answer."""


class Knob(NamedTuple):
    """The range in which one field is worth searching; wider values stay valid in an experiment."""

    low: float
    """The smallest value; with `share_of`, the smallest share."""
    high: float
    """The largest value; with `share_of`, the largest share."""
    log: bool = False
    """Whether the search moves by factors rather than by differences."""
    share_of: str = ""
    """For whole numbers: what the range is a share of, `params` (d) or `cohort` (n)."""

    def value(self, turned: float, sizes: Mapping[str, int]) -> float | int:
        """The field's value for a position of the knob; whole, and at least 1, where it is a share."""
        if self.share_of:
            return max(1, round(turned * sizes[self.share_of]))
        return float(f"{turned:.4g}")  # what is printed is what was run

    def position(self, value: float, sizes: Mapping[str, int]) -> float | None:
        """Where the knob stands at a value of the field; None where that is out of its range."""
        turned = value / sizes[self.share_of] if self.share_of else value
        return turned if self.low <= turned <= self.high else None

    def moved(self, position: float, share: float) -> float:
        """A position of the knob, moved by a share of its range and reflected at its ends."""
        if self.log:
            place = math.log(position / self.low) / math.log(self.high / self.low)
        else:
            place = (position - self.low) / (self.high - self.low)
        place = abs((place + share + 1) % 2 - 1)
        moved = (
            self.low * (self.high / self.low) ** place
            if self.log
            else self.low + place * (self.high - self.low)
        )
        return min(max(moved, self.low), self.high)  # rounding


Knobs: TypeAlias = Mapping[str, Knob]
"""A spec's knobs by the names of its fields."""


def knobs_of(spec: object) -> dict[str, Knob]:
    """Every knob of a spec and of the specs in its fields, by dotted path, such as `defense.k`."""
    found: dict[str, Knob] = dict(getattr(type(spec), "knobs", {}))
    for name, value in getattr(spec, "__dict__", {}).items():
        if name not in _NOT_SEARCHED and hasattr(type(value), "knobs"):
            found |= {f"{name}.{inner}": knob for inner, knob in knobs_of(value).items()}
    return found

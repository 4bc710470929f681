"""The points that `sparsefed frontier --json` printed, read again for a leaderboard."""

import json
from pathlib import Path
from typing import Any

from sparsefed.core.errors import SpecError
from sparsefed.core.text import named_type
from sparsefed.runs.record import Row

__all__ = ["read_points"]

_NUMBER = (int, float)
_KINDS = {
    "defense": (str, "a text"),
    "settings": (dict, "an object"),
    "goal": (str, "a text"),
    "compromised": (_NUMBER, "a number"),
    "test_accuracy": (_NUMBER, "a number"),
    "worst_attack_accuracy": (_NUMBER, "a number"),
}
"""What is read of a point."""


def read_points(path: Path) -> list[Row]:
    """The points in a file, as far as they were reported; raises `SpecError` where there are none."""
    wanted = f"--points: {path}: expected what `sparsefed frontier --json` prints"
    try:
        points = json.loads(path.read_bytes())
    except (OSError, ValueError) as problem:
        found = "no such file" if isinstance(problem, FileNotFoundError) else "no JSON"
        raise SpecError(f"{wanted}, found {found}") from None
    if not isinstance(points, list):
        raise SpecError(f"{wanted}, a list of points, found {named_type(points)}")
    for place, point in enumerate(points):
        if problem := _problem(point):
            raise SpecError(f"{wanted}; point {place + 1}: {problem}")
    if not (reported := [point for point in points if point["test_accuracy"] is not None]):
        raise SpecError(f"--points: {path}: expected points that were reported, found none")
    return reported


def _problem(point: Any) -> str:
    """What is wrong with a point; empty where nothing is."""
    if not isinstance(point, dict):
        return f"expected an object, found {named_type(point)}"
    reported = point.get("test_accuracy") is not None
    for key, (kind, words) in _KINDS.items():
        if key not in point:
            return f"expected `{key}`, found none"
        if not isinstance(point[key], kind) and (reported or point[key] is not None):
            return f"`{key}`: expected {words}, found {point[key]!r:.60}"
    return ""

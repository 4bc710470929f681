"""Every defense at its best: over its own settings, against the worst attack of a goal."""

from sparsefed.frontier.goals import Goal, goals_of
from sparsefed.frontier.plan import Plan, read_plan
from sparsefed.frontier.points import Point
from sparsefed.frontier.search import frontier

__all__ = ["Goal", "Plan", "Point", "frontier", "goals_of", "read_plan"]

"""Attacks: objectives (what), presence (who and when) and methods (how), free to combine."""

from sparsefed.attacks.base import Attack, Auxiliary, Grant, Method, Objective, Presence, View
from sparsefed.attacks.pgd import PGD
from sparsefed.attacks.presence import Pool
from sparsefed.attacks.targeted import Targeted

__all__ = [
    "PGD",
    "Attack",
    "Auxiliary",
    "Grant",
    "Method",
    "Objective",
    "Pool",
    "Presence",
    "Targeted",
    "View",
]

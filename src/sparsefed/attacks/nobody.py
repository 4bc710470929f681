"""No attackers at all, while the auxiliary points are measured: the floor of every attack accuracy."""

import numpy as np

from sparsefed.attacks.base import Presence
from sparsefed.types import ClientIds

__all__ = ["Nobody"]


class Nobody(Presence):
    """No client is compromised; the attack accuracy is what an honest model reaches by its own mistakes."""

    def compromised(self, clients: int, seed: int) -> np.ndarray:
        return np.zeros(clients, bool)

    def attacking(self, pool: np.ndarray, cohort: ClientIds, round: int, seed: int) -> np.ndarray:
        return np.zeros(len(cohort), bool)

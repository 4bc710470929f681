"""What a server knows of a round beside the updates: who sent them, its own update, the layers."""

from typing import NamedTuple

import numpy as np

from sparsefed.core.types import ClientIds, Vector

__all__ = ["NOTHING", "Aside"]


class Aside(NamedTuple):
    """Each part is None where the server does not have it; a rule that needs it then refuses the round."""

    clients: ClientIds | None = None
    """The number of each update's client in the population."""
    own: Vector | None = None
    """What an honest client that held the server's own examples would send, clipped like any other."""
    layers: tuple[int, ...] | None = None
    """How many parameters each layer has, in the order of θ."""
    cohort: int | None = None
    """How many clients the round has, those that were rejected included."""

    def only(self, keep: np.ndarray) -> "Aside":
        """Beside the updates where the mask `keep` is true."""
        return self if self.clients is None else self._replace(clients=self.clients[keep])

    def joined(self, clients: ClientIds) -> "Aside":
        """Beside the same updates and more of them, from `clients`."""
        return self if self.clients is None else self._replace(clients=np.append(self.clients, clients))


NOTHING = Aside()
"""What a server knows that has the updates alone."""

"""What an audit found: its servers, and each attack on them with more and more compromised clients."""

from typing import Any, NamedTuple

from sparsefed.federation.experiment import Experiment
from sparsefed.frontier.certified import Certified
from sparsefed.frontier.points import FALLEN

__all__ = ["COSTLY", "Audit", "Server", "Siege", "Taken"]

COSTLY = 20.0
"""Points of test accuracy below the server without a defense from which on a server is not usable."""


class Server(NamedTuple):
    """A server with its settings, and what it is worth when nobody attacks."""

    name: str
    experiment: Experiment
    test_accuracy: float
    """Percent, without an attack."""
    honest_norm: float
    """Median ℓ2 norm of the honest updates."""
    tried: int
    """Among how many settings these were chosen."""
    usable: bool
    """Whether it learned, at most 20 points of test accuracy below the server without a defense.

    A server that is not usable is not attacked: what an attack does to it says nothing of the defense."""


class Siege(NamedTuple):
    """One attack on one server, with more and more compromised clients."""

    server: str
    goal: str
    attack: str
    tried: dict[int, float]
    """The attack's success in percent, by the number of compromised clients."""

    @property
    def needed(self) -> int | None:
        """The fewest compromised clients tried with which it succeeds on more than 20 %; None if none did."""
        return min((m for m, success in self.tried.items() if success > FALLEN), default=None)


class Taken(NamedTuple):
    """What the best attack on chosen points takes from the clipping server."""

    compromised: int
    """With how many compromised clients."""
    classes: dict[str, float]
    """Percent of the targeted points of each class that get the attacker's label, most first."""


class Audit(NamedTuple):
    """What an audit found."""

    clients: int
    """How many clients the federation has."""
    cohort: int
    rounds: int
    servers: list[Server]
    sieges: list[Siege]
    taken: Taken | None
    """Which classes are easiest to take; None where examples have no class or the clip is not usable."""
    certified: Certified
    """What no attack can change."""

    def fewest(self, server: str, goal: str) -> Siege:
        """The attack of a goal that needs fewest compromised clients; of several the most successful one."""
        own = [siege for siege in self.sieges if (siege.server, siege.goal) == (server, goal)]
        return min(own, key=lambda s: (s.needed or self.clients + 1, -max(s.tried.values())))

    def to_dict(self) -> dict[str, Any]:
        """Everything for machines."""
        return {
            "clients": self.clients,
            "cohort": self.cohort,
            "rounds": self.rounds,
            "servers": [
                {
                    "name": s.name,
                    "test_accuracy": s.test_accuracy,
                    "usable": s.usable,
                    "settings_tried": s.tried,
                    "experiment": s.experiment.to_dict(),
                }
                for s in self.servers
            ],
            "attacks": [
                {
                    **siege._asdict(),
                    "needed": siege.needed,
                    "tried": {str(m): v for m, v in siege.tried.items()},
                }
                for siege in self.sieges
            ],
            "taken": None if self.taken is None else self.taken._asdict(),
            "certified": self.certified._asdict(),
        }

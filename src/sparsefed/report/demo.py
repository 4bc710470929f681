"""The main job in a minute: one attack against no defense, clipping and SparseFed, on real digits."""

from collections.abc import Iterator

from sparsefed.attacks import PGD, Attack, Pool, Targeted
from sparsefed.data import Digits, OneClass
from sparsefed.defenses import Mean, SparseFed
from sparsefed.federation.experiment import Experiment
from sparsefed.models import MLP
from sparsefed.protocol.clips import FixedClip, Unclipped
from sparsefed.protocol.schedules import Triangular

__all__ = ["demo_experiments"]


def demo_experiments() -> Iterator[tuple[str, Experiment]]:
    """The three runs of the demonstration: same seed, clients and attackers, another server."""
    method = PGD(epochs=5, batch_size=50, local_lr=0.2)
    attack = Attack(objective=Targeted(points=100), presence=Pool(fraction=0.02), method=method)
    clipped = Experiment(
        seed=1,
        rounds=900,
        cohort=50,
        data=Digits(),
        partition=OneClass(clients=2000, per_client=3, replace=True),
        model=MLP(hidden=(200, 200)),
        schedule=Triangular(peak=0.2),
        clip=FixedClip(norm=5.0),
        defense=Mean(momentum=0.9),
        attack=attack,
    )
    # A server that does not clip lets the attackers shout: they need not even be long about it.
    loud = attack.but(method=method.but(norm=20.0))
    yield "no defense", clipped.but(clip=Unclipped(), attack=loud)
    yield "clipping", clipped
    yield "SparseFed", clipped.but(defense=SparseFed(k=400, momentum=0.9))

"""The main job in a minute: one attack against no defense, clipping and SparseFed, on real digits."""

from collections.abc import Iterator

from sparsefed.attacks import PGD, Attack, Pool, Targeted
from sparsefed.clips import FixedClip, Unclipped
from sparsefed.data import Digits, OneClass
from sparsefed.defenses import Mean, SparseFed
from sparsefed.experiment import Experiment
from sparsefed.models import MLP
from sparsefed.schedules import Triangular

__all__ = ["demo_experiments"]


def demo_experiments() -> Iterator[tuple[str, Experiment]]:
    """The three runs of the demonstration: same seed, clients and attackers, another server."""
    attack = Attack(
        objective=Targeted(points=40),
        presence=Pool(fraction=0.02),
        method=PGD(epochs=10, batch_size=40),
    )
    bare = Experiment(
        seed=1,
        rounds=1200,
        cohort=50,
        data=Digits(),
        partition=OneClass(clients=2000, per_client=3, replace=True),
        model=MLP(hidden=(64, 64)),
        schedule=Triangular(peak=0.2),
        defense=Mean(momentum=0.9),
        attack=attack,
    )
    clip = FixedClip(norm=5.0)
    yield "no defense", bare.but(clip=Unclipped())
    yield "clipping", bare.but(clip=clip)
    yield "SparseFed", bare.but(clip=clip, defense=SparseFed(k=100, momentum=0.9))

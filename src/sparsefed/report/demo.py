"""The main job in a minute, on real digits: one attack on no defense, clipping, and SparseFed with an anchor.

The settings are a point at which the outcome does not depend on where the runs stop: with twice or four
times as many rounds, the same servers fall and the same one holds.
"""

from collections.abc import Iterator

from sparsefed.attacks import PGD, Attack, Pool, Targeted
from sparsefed.data import Digits, OneClass
from sparsefed.defenses import Mean, SparseFed
from sparsefed.federation.experiment import Experiment
from sparsefed.models import MLP
from sparsefed.protocol.anchors import InitialModel
from sparsefed.protocol.clips import FixedClip, Unclipped
from sparsefed.protocol.schedules import Triangular

__all__ = ["HEADING", "demo_experiments"]

HEADING = "10 % of 2,000 clients collude to have 100 handwritten digits misclassified"


def demo_experiments() -> Iterator[tuple[str, Experiment]]:
    """The three runs of the demonstration: same seed, clients and attackers, a different server each."""
    method = PGD(epochs=5, batch_size=50, local_lr=0.2)
    attack = Attack(objective=Targeted(points=100), presence=Pool(fraction=0.1), method=method)
    clipped = Experiment(
        seed=1,
        rounds=900,
        cohort=50,
        data=Digits(),
        partition=OneClass(clients=2000, per_client=3, replace=True),
        model=MLP(hidden=(200, 200)),
        schedule=Triangular(peak=5.0),
        clip=FixedClip(norm=0.1),
        defense=Mean(momentum=0.9),
        attack=attack,
    )
    # Unclipped gradients are about 25 times as long. Such a server accepts long updates from attackers too.
    unclipped = clipped.but(clip=Unclipped(), schedule=Triangular(peak=0.2))
    yield "no defense", unclipped.but(attack=attack.but(method=method.but(norm=20.0)))
    yield "clipping", clipped
    # Without the anchor SparseFed only delays this attack; see docs/anchor.md.
    anchor = InitialModel(stiffness=0.003)
    yield "SparseFed + anchor", clipped.but(defense=SparseFed(k=50, momentum=0.9), anchor=anchor)

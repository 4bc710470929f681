"""What a server does with a round: the same defense, clip, anchor and learning rate as in the simulation."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
import torch
from pydantic import Field, model_validator

from sparsefed.clients import Clients, FedAvg
from sparsefed.core.errors import SparseFedError, SpecError, UpdateError
from sparsefed.core.seeds import Stream, rng
from sparsefed.core.spec import Spec
from sparsefed.core.text import named_type, one_line
from sparsefed.core.types import Matrix, Vector
from sparsefed.defenses import Defense
from sparsefed.federation.checks import first_memory, next_memory, numbers, rule_step
from sparsefed.federation.experiment import Experiment
from sparsefed.federation.round import ServerState
from sparsefed.kernels import all_finite
from sparsefed.protocol.anchors import Anchor, Unanchored
from sparsefed.protocol.aside import Aside
from sparsefed.protocol.claims import doubled
from sparsefed.protocol.clips import Clip
from sparsefed.protocol.report import ClientReport, Roll
from sparsefed.protocol.schedules import Constant, Schedule
from sparsefed.protocol.updates import Dense
from sparsefed.server.layout import Layout

__all__ = ["Round", "Rules", "Upload"]

T = TypeVar("T")


class Upload(NamedTuple):
    """What one node has sent in a round."""

    node: Any
    """Its name, as the transport vouches for it; a second upload under the same name is left out."""
    arrays: Mapping[str, Any] | str
    """Its model θᵢ by names, not yet checked; or why there is none, in words."""


class Round(NamedTuple):
    """What happened in one round."""

    round: int
    clip_norm: float
    """L."""
    skipped: str
    """Why the model was left as it was; empty where it moved."""
    nodes: list[ClientReport]
    """What became of each node's update."""
    diagnosis: dict[str, float | None]
    """What the defense did, in its own numbers (`Defense.diagnose`); empty for a round that was skipped."""

    def numbers(self) -> dict[str, Any]:
        """The round as numbers and lists, for a transport's own metrics.

        `norms`, `clips` and `shares` are in the order of `nodes`: each update's norm as sent, what the clip
        multiplied it with, and how much of it the defense took in. NaN stands for what there is none of.
        """
        return {
            "round": self.round,
            "skipped": int(bool(self.skipped)),
            "clip-norm": self.clip_norm,
            "admitted": sum(not node.problem for node in self.nodes),
            "nodes": [node.client for node in self.nodes],
            "norms": [node.norm for node in self.nodes],
            "clips": [node.clip for node in self.nodes],
            "shares": [node.share for node in self.nodes],
            "clipped": [node.client for node in self.nodes if not node.problem and node.clip < 1],
            "left-out": [node.client for node in self.nodes if node.problem],
            **{name: float("nan") if value is None else value for name, value in self.diagnosis.items()},
        }

    def warnings(self) -> list[str]:
        """Who was left out and why, and why the round was skipped: lines for a log."""
        skipped = [f"skipped: {self.skipped}"] if self.skipped else []
        return [
            f"round {self.round}: {line}" for line in (*filter(lambda n: n.problem, self.nodes), *skipped)
        ]


class Rules(Spec):
    """Everything that decides a server's next state beside the updates: equal rules, equal digests."""

    defense: Defense
    """𝒜, the aggregation rule."""
    clip: Clip
    """The bound on an update that the server enforces; `Unclipped()` lets one node decide every round."""
    anchor: Anchor = Unanchored()
    """What pulls the model back to where it began, after the rule."""
    schedule: Schedule = Constant(value=1.0)
    """λ, the learning rate of each round."""
    clients: Clients = FedAvg()
    """What nodes do, from which follows whether the server multiplies with λ (it does for gradients)."""
    rounds: int = Field(default=1, gt=0)
    """T, how many rounds the schedule is made for."""
    least: int = Field(default=1, gt=0)
    """How many usable updates a round needs; with fewer, or fewer than the defense needs, it is skipped."""
    seed: int = Field(default=0, ge=0)
    """Where the server's randomness comes from: noise, sketches, the sampling of nodes."""

    @model_validator(mode="after")
    def _sees_enough(self) -> Self:
        if self.defense.server_examples:
            expected = "expected a rule that needs no examples of the server's own"
            raise SpecError(f"{expected}, found {self.defense!r}", ["defense"])
        if 1 < self.least < self.defense.least:
            expected = f"expected at least the {self.defense.least} updates that {self.defense!r} needs"
            raise SpecError(f"{expected}, found {self.least}", ["least"])
        return self

    @classmethod
    def of(cls, experiment: Experiment, **changes: Any) -> Self:
        """The rules that a simulated experiment's server follows."""
        shared = {name: value for name, value in experiment if name in cls.model_fields}
        return cls(**{**shared, **changes})

    def begin(self, params: Vector) -> ServerState:
        """The server before the first round."""
        memory = first_memory(self.defense, self.defense.init(params, self.seed))
        return ServerState(0, params, memory, first_memory(self.clip, self.clip.init()))

    def lr(self, round: int) -> float:
        """λ of a round; beyond the last round the last one's."""
        return float(self.schedule.lr(min(round, self.rounds), self.rounds))

    def drawn(self, nodes: Iterable[T], count: int, round: int) -> list[T]:
        """`count` of the nodes, in order: who they are follows from the seed, the round and who is there."""
        there = sorted(nodes)  # pyright: ignore[reportArgumentType]
        places = rng(self.seed, Stream.COHORT, round).choice(
            len(there), min(count, len(there)), replace=False
        )
        return [there[place] for place in sorted(places.tolist())]

    def step(
        self, state: ServerState, initial: Vector, uploads: Sequence[Upload], layout: Layout
    ) -> tuple[ServerState, Round]:
        """The next state, and a report; `initial` is θ₀. Nothing that a node sends raises an error.

        A round that the defense cannot use leaves the model, the memory and the clip as they were.
        """
        round, lr = state.round + 1, self.lr(state.round + 1)
        clip_norm = float(self.clip.norm_at(lr, state.clip))
        received = _received(uploads, state.params, layout)
        admitted = received.admitted(clip_norm)
        server_lr, nodes, skipped, diagnosis = self.clients.server_lr(lr), admitted.report(), "", {}
        try:
            if admitted.count < self.least:
                raise UpdateError(f"expected at least {self.least} usable updates, found {admitted.count}")
            delta, memory = rule_step(self.defense, admitted, state.memory, server_lr, state.params)
            clip = next_memory(self.clip, state.clip, self.clip.next(state.clip, received.norms()))
            params = self.anchor.pulled(state.params, initial, lr) - delta
            if not all_finite(params):
                raise UpdateError("expected a finite model after the step, found one that is not")
            diagnosis = numbers(self.defense, self.defense.diagnose(admitted, memory, delta, server_lr))
            nodes = admitted.report(self.defense.shares(admitted))
            state = ServerState(round, params, memory, clip)
        except UpdateError as problem:
            skipped = str(problem)
        except SparseFedError:  # a rule of the user's own that is wrong whatever nodes send
            raise
        except Exception as problem:  # what a rule of the user's own does with hostile numbers
            skipped = f"{type(problem).__name__}: {one_line(problem)}"
        nodes = [node._replace(skipped=bool(skipped)) for node in nodes]
        return state._replace(round=round), Round(round, clip_norm, skipped, nodes, diagnosis)


def _received(uploads: Sequence[Upload], params: Vector, layout: Layout) -> Dense:
    """θ − θᵢ of every node whose arrays are the model's, one row each; the others are left out.

    Raises `UpdateError` where `uploads` are none: they are the server's own.
    """
    if isinstance(uploads, Upload | str | bytes) or not isinstance(uploads, Iterable):
        raise UpdateError(f"expected a list of `Upload`, found {named_type(uploads)}")
    uploads = list(uploads)
    for position, upload in enumerate(uploads):
        if not isinstance(upload, Upload):
            raise UpdateError(f"upload {position}: expected an `Upload`, found {named_type(upload)}")
    matrix: Matrix = torch.empty(len(uploads), len(params), dtype=params.dtype)
    present, left_out = list[int](), dict[int, tuple[float, str]]()
    again = doubled([upload.node for upload in uploads])
    for position, upload in enumerate(uploads):
        row = matrix[len(present)]
        if position in again:
            problem = again[position]
        elif isinstance(upload.arrays, str):
            problem = one_line(upload.arrays) or "expected arrays, found none"
        else:
            problem = layout.read(upload.arrays, row)
        if problem:
            left_out[position] = (float("nan"), problem)
        else:
            torch.sub(params, row, out=row)
            present.append(position)
    roll = Roll([upload.node for upload in uploads], np.array(present, np.int64), None, left_out)
    return Dense(matrix[: len(present)], roll=roll, aside=Aside(layers=layout.sizes, cohort=len(uploads)))

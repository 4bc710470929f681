"""Two servers in processes of their own and twenty devices, three of them malicious, train on real digits.

The servers see sums alone. Beside them, the same rounds are computed plainly without the three: the models
must be equal, bit for bit, whoever has cheated and whichever server was killed.
"""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from sparsefed.clients import Work
from sparsefed.core.types import Matrix, Vector
from sparsefed.data import IID, Digits
from sparsefed.defenses import SparseFed
from sparsefed.federation.experiment import Experiment
from sparsefed.federation.metrics import evaluate
from sparsefed.federation.round import Federation
from sparsefed.models import Linear
from sparsefed.protocol.aggregation import Pine
from sparsefed.protocol.clips import FixedClip
from sparsefed.protocol.dense import dense
from sparsefed.protocol.schedules import Constant
from sparsefed.protocol.sealed import Released
from sparsefed.protocol.updates import Updates
from sparsefed.report.secagg_servers import Servers, patiently
from sparsefed.secagg import Rejected
from sparsefed.secagg.cheats import WRAPPING, HonestFlags, LyingFlags, Unchecked
from sparsefed.secagg.service.device import sealed_submission, submission
from sparsefed.secagg.service.rounds import Round, Submission

__all__ = ["DemoRound", "demo_rounds"]

DEVICES, MALICIOUS = 20, 3
NORM, LR = 2.0, 1.0


class DemoRound(NamedTuple):
    """What came out of a round."""

    round: int
    accepted: int
    rejected: dict[str, str]
    """What a malicious device has tried, and the reason for which it was not counted."""
    test_accuracy: float
    equal: bool
    """Whether the model equals, bit for bit, the plain run without the malicious devices."""
    kills: int
    """How often a server was killed and started again so far."""


def _experiment(rounds: int) -> Experiment:
    return Experiment(
        seed=1,
        rounds=rounds,
        cohort=DEVICES,
        data=Digits(),
        partition=IID(clients=DEVICES),
        model=Linear(),
        schedule=Constant(value=LR),
        clip=FixedClip(norm=NORM),
        defense=SparseFed(k=400, momentum=0.5),
        aggregation=Pine(),
    )


def demo_rounds(folder: Path, rounds: int, kills: int = 0) -> Iterator[DemoRound]:
    """The rounds of the demonstration, in `folder`; servers are killed at random moments `kills` times."""
    spec = _experiment(rounds)
    fed = Federation.of(spec)
    names = [f"device-{i:02}" for i in range(DEVICES)]
    with Servers(folder, names, rounds * DEVICES, kills) as servers:
        secure = plain = fed.initial
        memory = plain_memory = fed.initial_state.memory
        before: Submission | None = None
        for number in range(1, rounds + 1):
            updates = _updates(fed, secure, number)
            honest = updates[: DEVICES - MALICIOUS]
            round = Round("digits", number, fed.network.size, norm=NORM, min_batch=10, deadline=4e9)
            patiently(lambda round=round: servers.operator.begin(round))
            for name, update in zip(names, honest, strict=False):
                report = submission(name, update.numpy(), *servers.seen_by(name))
                _send(servers, report)
            rejected = {}
            attempts = _attempts(number, updates[-1], before)
            for name, (what, made) in zip(names[-MALICIOUS:], attempts, strict=True):
                rejected[f"{name}: {what}"] = _send(servers, made(servers, name))
            before = submission(names[-1], updates[-1].numpy(), *servers.seen_by(names[-1]))
            patiently(lambda number=number: servers.operator.end(number))
            found = patiently(lambda number=number: servers.operator.result(number))
            total = torch.from_numpy(found["sum"].copy()).to(secure)
            secure, memory = _step(fed, secure, memory, Released(total, found["count"]))
            own = Pine().seen(dense(_updates(fed, plain, number)[: DEVICES - MALICIOUS]), NORM)
            plain, plain_memory = _step(fed, plain, plain_memory, own)
            accuracy = evaluate(fed.network, params=secure, dataset=fed.dataset, auxiliary=None).test_accuracy
            yield DemoRound(
                number, found["count"], rejected, accuracy, torch.equal(secure, plain), servers.killed
            )


def _updates(fed: Federation, params: Vector, number: int) -> Matrix:
    """Every device's clipped update."""
    clients = np.arange(DEVICES, dtype=np.int32)
    work = Work(fed.network, params, fed.local_data(clients, number), LR, fed.spec.seed, number)
    return fed.spec.clients.updates(work).admitted(NORM).rows()


def _step(fed: Federation, params: Vector, memory: Any, seen: Updates) -> tuple[Vector, Any]:
    delta, memory = fed.spec.defense.step(seen, memory, LR)
    return fed.moved(params, delta, LR), memory


def _send(servers: Servers, report: Submission) -> str:
    """What the leader says of a report, asked until it answers."""
    with servers.reporting():
        try:
            return patiently(lambda: servers.leader_for(report.device).report(report))
        except Rejected as reason:
            return type(reason).__name__


Attempt = tuple[str, Callable[[Servers, str], Submission]]


def _attempts(number: int, update: Vector, before: Submission | None) -> list[Attempt]:
    """What the three malicious devices try in a round."""
    size = len(update)
    long = (1000.0 * update.double() * 2**29).round().long().tolist()
    nan = np.full(size, np.nan).astype(np.float32).view(np.int32).tolist()
    wraps = {0: ("wraparound, honest flags", HonestFlags), 1: ("wraparound, lying flags", LyingFlags)}
    name, kind = wraps[number % 2]
    beyond = ("NaN as integers", nan) if number % 2 else ("1000 × too long", long)
    return [
        (beyond[0], _lie(LyingFlags, beyond[1])),
        (name, _lie(kind, WRAPPING)),
        ("replay of another round", lambda servers, device: before)
        if before is not None
        else ("its report, changed on the way", lambda servers, device: _changed(servers, device, update)),
    ]


def _lie(kind: type[Unchecked], vector: list[int]) -> Callable[[Servers, str], Submission]:
    def made(servers: Servers, device: str) -> Submission:
        round, keys = servers.seen_by(device)
        salt = secrets.token_bytes(16)
        report = kind(round.pine.parameters).send(vector, round.nonce(device, salt), secrets.token_bytes(224))
        return sealed_submission(device, salt, report, round, keys)

    return made


def _changed(servers: Servers, device: str, update: Vector) -> Submission:
    report = submission(device, update.numpy(), *servers.seen_by(device))
    return report._replace(public=report.public[:-1] + bytes([report.public[-1] ^ 1]))

"""The audit of one model: how many compromised clients each attack needs against which server.

Three servers are tried: none of the known defenses, a clip, and SparseFed, the last two with settings that a
search found best. Every number comes from an ordinary run that is kept and can be repeated.
"""

from collections.abc import Generator
from pathlib import Path
from statistics import median
from typing import Any

import torch

from sparsefed.attacks import Attack, Colluding
from sparsefed.core.errors import SpecError
from sparsefed.core.knobs import knobs_of
from sparsefed.core.merge import Tree
from sparsefed.core.text import amount
from sparsefed.data import Npz
from sparsefed.defenses import Mean
from sparsefed.federation.experiment import Experiment
from sparsefed.federation.metrics import aimed_hits
from sparsefed.federation.round import Federation
from sparsefed.frontier.budget import Budget
from sparsefed.frontier.certified import certified
from sparsefed.frontier.findings import Audit, Server, Siege, Taken
from sparsefed.frontier.goals import Goal, goals_of
from sparsefed.frontier.plan import DEFENSES, Plan, for_search, with_settings
from sparsefed.frontier.points import FALLEN
from sparsefed.frontier.search import Progress, searched
from sparsefed.protocol.anchors import Unanchored
from sparsefed.protocol.clips import Unclipped
from sparsefed.runs.journal import final_params
from sparsefed.runs.record import Record
from sparsefed.runs.simulate import simulate

__all__ = ["audit", "usual"]

_UNDEFENDED, _CLIP, _SPARSEFED = "no defense", "clip", "SparseFed"
_ASSUMED = 0.1
"""The share of compromised clients that the search for settings assumes."""
_PACES = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Multiples of the experiment's learning rate that the undefended server is tried with."""


def usual(model: str, data: Path) -> Tree:
    """The experiment, as a file would hold it, for a model and an archive of which nothing else is known."""
    if data.suffix != ".npz":
        raise SpecError(
            f"{data}: expected an .npz archive; for other data write an experiment and audit that"
        )
    train = Npz(path=data).load().train
    if train.users is not None:
        clients, partition = len(set(train.users.tolist())), {"type": "Natural"}
    else:
        clients = max(2, min(1000, len(train.y) // 5))
        partition = {"type": "IID", "clients": clients}
    return {
        "rounds": 150,
        "cohort": min(clients, max(10, min(100, clients // 10))),
        "data": {"type": "Npz", "path": str(data)},
        "partition": partition,
        "model": {"type": model},
        "schedule": {"type": "Triangular", "peak": 0.2},
        "defense": {"type": "Mean", "momentum": 0.9},
    }


def audit(
    base: Experiment, runs: Path, budget: Budget, jobs: int = 1, threads: int = 1
) -> Generator[Progress, None, Audit]:
    """Choose the servers' settings within `budget`, attack each with growing numbers of clients, certify.

    An audit that was stopped resumes, and no run is done twice. Raises `SpecError` where the model does not
    learn or no settings were found within the budget.
    """
    work = _Work(base, runs)
    experiments = {_UNDEFENDED: (yield from work.undefended())}
    experiments |= yield from work.tuned(budget, jobs, threads)
    servers, sieges = [], []
    for place, (name, experiment) in enumerate(experiments.items()):
        servers.append(work.unattacked(name, experiment))
        for goal, attack in work.attacks:
            yield Progress(0.5 + 0.5 * place / len(experiments), f"{name}, {attack}")
            sieges.append(Siege(name, goal, attack, work.climbed(servers[-1], goal, attack)))
    yield Progress(1.0, "certificate")
    found = Audit(
        clients=work.clients,
        cohort=base.cohort,
        rounds=base.rounds,
        servers=servers,
        sieges=sieges,
        taken=None,
        certified=certified(servers[1].experiment, work.ladder),
    )
    return found._replace(taken=work.taken(found, servers[1]))


class _Work:
    """The federation of an audit, and the runs that answer its questions."""

    def __init__(self, base: Experiment, runs: Path) -> None:
        self.base, self.runs = base, runs
        fed = Federation.of(base.but(attack=None))
        self.dataset, self.clients = fed.dataset, len(fed.population)
        self.attacks = [
            (name, attack) for name, goal in self.goals(_ASSUMED).items() for attack in goal.attacks
        ]
        """Every attack with its goal, by name."""
        steps = [digit * 10**power for power in range(9) for digit in (1, 2, 5)]
        self.ladder = [m for m in steps if m <= self.clients // 2] or [1]
        """1, 2, 5, 10, 20, … compromised clients, up to half of all."""

    def goals(self, share: float) -> dict[str, Goal]:
        return goals_of(self.base, self.dataset, share)

    def undefended(self) -> Generator[Progress, None, Experiment]:
        """The plain mean, at the learning rate with the best validation accuracy."""
        plain = self.base.but(attack=None, clip=Unclipped(), defense=Mean(momentum=0.9), anchor=Unanchored())
        rate = next((key for key in knobs_of(plain) if key.startswith("schedule.")), None)
        found: list[tuple[float, Experiment]] = []
        for pace in _PACES if rate else (1.0,):
            faster = plain
            if rate:
                now = getattr(plain.schedule, rate.partition(".")[2])
                faster = with_settings(plain, {rate: pace * now})
            result = simulate(for_search(faster), self.runs)
            yield Progress(0.0, f"no defense, learning rate × {pace:g}")
            if result["outcome"] == "trained":
                found.append((result["test_accuracy"] or 0.0, faster))
        if not found:
            wanted = f"a model that learns in {amount(self.base.rounds, 'round')} without an attack"
            raise SpecError(f"expected {wanted}, found none at any learning rate; allow more rounds")
        return max(found, key=lambda item: item[0])[1]

    def tuned(
        self, budget: Budget, jobs: int, threads: int
    ) -> Generator[Progress, None, dict[str, Experiment]]:
        """The clip and SparseFed with the settings that the search found best."""
        defenses = {name: dict(DEFENSES[name]) for name in (_CLIP, _SPARSEFED)}
        goal = self.attacks[0][0]
        plan = Plan(base=self.base.to_dict(), defenses=defenses, compromised=[_ASSUMED], goals=[goal])
        settings = yield from _halved(searched(plan, self.runs, budget, jobs, threads))
        if missing := defenses.keys() - settings.keys():
            runs = len(defenses) * (1 + len(self.goals(_ASSUMED)[goal].attacks))
            needed = f"{amount(runs, 'run')}, one setting of each defense"
            left = f"nothing is left for {', '.join(sorted(missing))}"
            raise SpecError(f"budget: expected enough for {needed}, found {budget}: {left}")
        return {name: with_settings(plan.experiment(name), found) for name, found in settings.items()}

    def unattacked(self, name: str, experiment: Experiment) -> Server:
        """The server when nobody attacks."""
        result = simulate(experiment, self.runs)
        norms = [row["honest_norm"] for row in Record(self.runs, experiment).rows() if row["honest_norm"]]
        return Server(name, experiment, result["test_accuracy"] or 0.0, median(norms) if norms else 1.0)

    def attack_on(self, server: Server, goal: Goal, name: str) -> Attack:
        """One attack of a goal; without a clip its uploads are as long as those of a whole cohort."""
        attack = goal.attacks[name]
        if isinstance(server.experiment.clip, Unclipped) and isinstance(attack.method, Colluding):
            return attack.but(method=attack.method.but(norm=self.base.cohort * server.honest_norm))
        return attack

    def climbed(self, server: Server, goal: str, attack: str) -> dict[int, float]:
        """The attack's success at the rungs that a bisection asks for, as if more attackers did more."""
        tried = dict[int, float]()
        low, high = 0, len(self.ladder)
        while low < high:
            middle = (low + high) // 2
            m = self.ladder[middle]
            tried[m] = self.success(server, goal, attack, m)
            low, high = (low, middle) if tried[m] > FALLEN else (middle + 1, high)
        return dict(sorted(tried.items()))

    def success(self, server: Server, goal: str, attack: str, compromised: int) -> float:
        """What the attack reaches with so many clients, in percent."""
        wanted = self.goals(compromised / self.clients)[goal]
        result = simulate(server.experiment.but(attack=self.attack_on(server, wanted, attack)), self.runs)
        if result["outcome"] == "diverged":
            return 100.0
        accuracy, hit = result["test_accuracy_rest"], result["attack_accuracy"]
        return wanted.damage(accuracy or 0.0, hit, server.test_accuracy)

    def taken(self, found: Audit, server: Server) -> Taken | None:
        """The classes that the best attack on chosen points takes; None where examples have no class."""
        goal = self.attacks[0][0]
        siege = found.fewest(server.name, goal)
        m = siege.needed or max(siege.tried)
        attack = self.attack_on(server, self.goals(m / self.clients)[goal], siege.attack)
        fed = Federation.of(server.experiment.but(attack=attack))
        aimed, truth = fed.auxiliary, fed.dataset.test.y
        if aimed is None or truth.ndim > 1 or not len(aimed.test_positions):
            return None
        hits = aimed_hits(fed.network, final_params(fed, self.runs), aimed).double()
        truth = truth[torch.from_numpy(aimed.test_positions)]
        names = fed.dataset.labels or tuple(map(str, range(fed.dataset.classes)))
        shares = {names[label]: 100 * float(hits[truth == label].mean()) for label in truth.unique().tolist()}
        return Taken(m, dict(sorted(shares.items(), key=lambda item: -item[1])))


def _halved(steps: Generator[Progress, None, dict[str, Any]]) -> Generator[Progress, None, dict[str, Any]]:
    """The steps of a search as the first half of an audit."""
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return end.value
        yield Progress(0.5 * step.share, step.what)

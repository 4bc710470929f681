"""The audit of one model: how many compromised clients each attack needs against which server.

Three servers are tried: none of the known defenses, a clip, and SparseFed, the last two with settings that a
search found best. Every number comes from an ordinary run that is kept and can be repeated.
"""

from collections.abc import Generator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from sparsefed.attacks import Attack, Colluding
from sparsefed.core.errors import SpecError
from sparsefed.core.knobs import knobs_of
from sparsefed.core.text import amount
from sparsefed.defenses import Mean
from sparsefed.federation.experiment import Experiment
from sparsefed.federation.metrics import aimed_hits
from sparsefed.federation.round import Federation
from sparsefed.frontier.budget import Budget
from sparsefed.frontier.certified import Certified, certified
from sparsefed.frontier.findings import COSTLY, Audit, Server, Siege, Taken
from sparsefed.frontier.goals import Goal, goals_of
from sparsefed.frontier.ledger import Progress
from sparsefed.frontier.plan import DEFENSES, Plan, for_search, with_settings
from sparsefed.frontier.points import FALLEN
from sparsefed.frontier.search import searched
from sparsefed.protocol.anchors import Unanchored
from sparsefed.protocol.clips import Unclipped
from sparsefed.runs.journal import final_params
from sparsefed.runs.record import Record
from sparsefed.runs.simulate import simulate

__all__ = ["audit"]

_UNDEFENDED, _CLIP, _SPARSEFED = "no defense", "clip", "SparseFed"
_TUNED = (_CLIP, _SPARSEFED)
_ASSUMED = 0.1
"""The share of compromised clients that the search for settings assumes, at least one."""
_PACES = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Multiples of the experiment's learning rate that the undefended server is tried with."""


def audit(
    base: Experiment, runs: Path, budget: Budget, jobs: int = 1, threads: int = 1, *, fresh: bool = False
) -> Generator[Progress, None, Audit]:
    """Choose the servers' settings within `budget`, attack each with growing numbers of clients, certify.

    An audit that was stopped resumes, and no run is done twice; with `fresh`, runs whose files have changed
    or whose folders are damaged are started over. Raises `SpecError` where the model does not learn or no
    settings were found within the budget; before any run where that many runs cannot suffice.
    """
    work = _Work(base, runs, fresh)
    work.require(budget)
    chosen = {_UNDEFENDED: (yield from work.undefended())}
    chosen |= yield from work.tuned(budget, jobs, threads)
    servers: list[Server] = []
    sieges: list[Siege] = []
    for place, (name, (experiment, tried)) in enumerate(chosen.items()):
        servers.append(server := work.unattacked(name, experiment, tried, servers))
        for goal, attack in work.attacks if server.usable else ():
            yield Progress(0.5 + 0.5 * place / len(chosen), f"{name}, {attack}")
            sieges.append(Siege(name, goal, attack, work.climbed(server, goal, attack)))
    clip = servers[1]
    yield Progress(1.0, "certificate")
    found = Audit(
        clients=work.clients,
        cohort=base.cohort,
        rounds=base.rounds,
        servers=servers,
        sieges=sieges,
        taken=None,
        certified=certified(clip.experiment, work.ladder)
        if clip.usable
        else Certified({}, "no usable setting was found for the clip"),
    )
    return found._replace(taken=work.taken(found, clip) if clip.usable else None)


class _Work:
    """The federation of an audit, and the runs that answer its questions."""

    def __init__(self, base: Experiment, runs: Path, fresh: bool = False) -> None:
        self.base, self.runs, self.fresh = base, runs, fresh
        self.run = partial(simulate, runs=runs, fresh=fresh)
        fed = Federation.of(base.but(attack=None))
        self.dataset, self.clients = fed.dataset, len(fed.population)
        if self.clients < 2:
            raise SpecError(f"expected at least 2 clients, one of them to compromise, found {self.clients}")
        self.assumed = max(_ASSUMED, 1 / self.clients)
        self.attacks = [
            (name, attack) for name, goal in self.goals(self.assumed).items() for attack in goal.attacks
        ]
        """Every attack with its goal, by name."""
        steps = [digit * 10**power for power in range(9) for digit in (1, 2, 5)]
        self.ladder = [m for m in steps if m <= self.clients // 2] or [1]
        """1, 2, 5, 10, 20, … compromised clients, up to half of all."""

    def goals(self, share: float) -> dict[str, Goal]:
        return goals_of(self.base, self.dataset, share)

    def require(self, budget: Budget) -> None:
        """Raises `SpecError` where a number of runs cannot try one setting of each defense to its end."""
        attacks = len(self.goals(self.assumed)[self.attacks[0][0]].attacks)
        each = f"each without an attack and with each of {attacks}"
        budget.require(len(_TUNED) * (1 + attacks), f"one setting of the clip and one of SparseFed, {each}")

    def undefended(self) -> Generator[Progress, None, tuple[Experiment, int]]:
        """The plain mean, at the learning rate with the best validation accuracy; and of how many."""
        plain = self.base.but(attack=None, clip=Unclipped(), defense=Mean(momentum=0.9), anchor=Unanchored())
        rate = next((key for key in knobs_of(plain) if key.startswith("schedule.")), None)
        found: list[tuple[float, Experiment]] = []
        paces = _PACES if rate else (1.0,)
        for pace in paces:
            faster = plain
            if rate:
                now = getattr(plain.schedule, rate.partition(".")[2])
                faster = with_settings(plain, {rate: pace * now})
            result = self.run(for_search(faster))
            yield Progress(0.0, f"no defense, learning rate × {pace:g}")
            if result["outcome"] == "trained":
                found.append((result["test_accuracy"] or 0.0, faster))
        if not found:
            raise self.unlearned("none at any learning rate")
        return max(found, key=lambda item: item[0])[1], len(paces)

    def unlearned(self, found: str) -> SpecError:
        """Why there is nothing to attack."""
        wanted = f"a model that learns in {amount(self.base.rounds, 'round')} without an attack"
        return SpecError(f"expected {wanted}, found {found}; allow more rounds")

    def tuned(
        self, budget: Budget, jobs: int, threads: int
    ) -> Generator[Progress, None, dict[str, tuple[Experiment, int]]]:
        """The clip and SparseFed with the settings that the search found best, and of how many."""
        defenses = {name: dict(DEFENSES[name]) for name in _TUNED}
        goal = self.attacks[0][0]
        plan = Plan(base=self.base.to_dict(), defenses=defenses, compromised=[self.assumed], goals=[goal])
        choices = yield from _halved(searched(plan, self.runs, budget, jobs, threads, fresh=self.fresh))
        if missing := defenses.keys() - choices.keys():
            runs = len(defenses) * (1 + len(self.goals(self.assumed)[goal].attacks))
            needed = f"{amount(runs, 'run')}, one setting of each defense"
            left = f"nothing was left for {', '.join(sorted(missing))}"
            raise SpecError(f"budget: expected enough for {needed}, found {budget}: {left}")
        return {
            name: (with_settings(plan.experiment(name), choice.settings), choice.tried)
            for name, choice in choices.items()
        }

    def unattacked(self, name: str, experiment: Experiment, tried: int, before: list[Server]) -> Server:
        """The server when nobody attacks; the first one `before` has no defense. Raises `SpecError` if that
        did not learn.
        """
        result = self.run(experiment)
        norms = [row["honest_norm"] for row in Record(self.runs, experiment).rows() if row["honest_norm"]]
        accuracy, learned = result["test_accuracy"] or 0.0, result["outcome"] == "trained"
        if not before and not learned:
            raise self.unlearned(f"{accuracy:.1f} % test accuracy, {result['outcome']}")
        usable = learned and (not before or before[0].test_accuracy - accuracy <= COSTLY)
        return Server(name, experiment, accuracy, median(norms) if norms else 1.0, tried, usable)

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
        result = self.run(server.experiment.but(attack=self.attack_on(server, wanted, attack)))
        return wanted.success(attack, result, server.test_accuracy)

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

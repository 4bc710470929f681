"""Every defense at its tuned point against every attack: what the worst attack of each goal leaves of it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from sparsefed.attacks import Attack, Pool
from sparsefed.core.errors import RunError, SpecError
from sparsefed.core.merge import Tree
from sparsefed.core.spec import Spec
from sparsefed.federation.experiment import Experiment
from sparsefed.federation.round import Federation
from sparsefed.frontier.goals import GOALS, Goal, chosen
from sparsefed.frontier.plan import DEFENSES, Plan, with_settings
from sparsefed.frontier.points import Measured, averaged, measured
from sparsefed.frontier.roster import every_attack
from sparsefed.frontier.storage import searches_in
from sparsefed.runs.record import Outcome, Record, Row
from sparsefed.runs.tables import Cell

__all__ = [
    "Entry",
    "Leaderboard",
    "Reported",
    "Standing",
    "entries",
    "run_before",
    "standings",
]


class Reported(Spec):
    """What a publication says of a defense."""

    defense: str
    """The defense, as the leaderboard names it."""
    attack: str
    """The attack, in the publication's words."""
    setting: str
    """Data, clients, share of attackers."""
    says: str
    """Its numbers, in words."""
    source: str
    """Where it says so."""


class Leaderboard(Plan):
    """What a leaderboard's file holds: a frontier's, with settings that stand, and attacks by goal."""

    goals: list[str] = Field(default=["chosen points", "backdoor", "untargeted"], min_length=1)
    """What the attackers want."""
    attacks: dict[str, dict[str, Tree]] = Field(default={})
    """Attacks by goal and name, each a `method` and perhaps an `objective`; all there are if it has none."""
    reported: list[Reported] = Field(default=[])
    """What publications say, printed below ours."""

    def check(self) -> None:
        """Settings stand as they are: nothing has to be searchable."""
        for defense in self.defenses:
            self.experiment(defense)
        if self.attacks and self.only:
            raise SpecError("expected `only` or `[attacks]`, found both", ["only"])
        if unknown := self.attacks.keys() - set(GOALS):
            raise SpecError(f"expected {', '.join(GOALS)}, found {', '.join(sorted(unknown))}", ["attacks"])
        if unknown := set(self.goals) - set(GOALS):
            raise SpecError(f"expected {', '.join(GOALS)}, found {', '.join(sorted(unknown))}", ["goals"])
        if unasked := self.attacks.keys() - set(self.goals):
            goals = ", ".join(self.goals)
            raise SpecError(f"expected attacks of the goals ({goals}), found {min(unasked)}", ["attacks"])
        for goal, attacks in self.attacks.items():
            for name, tree in attacks.items():
                if other := tree.keys() - {"method", "objective"}:
                    found = f"expected `method` and perhaps `objective`, found `{min(other)}`"
                    raise SpecError(found, ["attacks", goal, name])

    def settled(self, points: Sequence[Row]) -> "Leaderboard":
        """Without the usual defenses that have no settings yet, neither of their own nor a frontier's point.

        Raises `SpecError` where none is left.
        """
        known = {point["defense"] for point in points}
        if points and known.isdisjoint(self.defenses):
            mine = ", ".join(self.defenses)
            raise SpecError(
                f"--points: expected points of {mine}, found points of {', '.join(sorted(known))}"
            )
        left_out = [
            name
            for name, tree in self.defenses.items()
            if tree == DEFENSES.get(name)
            and name not in known
            and any(knob.share_of for knob in self.searchable(name).values())
        ]
        if not left_out:
            return self
        kept = {name: tree for name, tree in self.defenses.items() if name not in left_out}
        why = f"{', '.join(left_out)} {'have' if len(left_out) > 1 else 'has'} no settings yet"
        if not kept:
            raise SpecError(f"expected `[defenses]`, or `--points` of a frontier, found neither: {why}")
        note = (
            f"{self.note}\n\nLeft out, since {why}: `sparsefed frontier --json` finds them, for `--points`."
        )
        return self.but(defenses=kept, note=note.strip())


class Entry(NamedTuple):
    """One run of a leaderboard."""

    defense: str
    goal: Goal
    share: float
    attack: str
    """Empty without one."""
    cell: Cell


class Standing(NamedTuple):
    """What a defense is worth against one goal at one share of attackers."""

    defense: str
    goal: str
    share: float
    found: Measured | None
    """Means over the seeds that have all runs; None where none has."""
    success: dict[str, float | None]
    """Of every attack, the mean over seeds: attack accuracy, or the test accuracy that it destroyed."""
    failed: dict[str, str]
    """Attacks whose run failed, and why."""


def entries(board: Leaderboard, points: Sequence[Row] = ()) -> Iterator[Entry]:
    """Every run, the unattacked ones first; equal runs are made once."""
    fed = Federation.of(board.experiment(next(iter(board.defenses))))
    own = board.own()
    for seed in board.seeds:
        for share in board.shares():
            everything = every_attack(own, fed.dataset, share)
            for name in board.goals:
                goal = _as_asked(board, chosen(everything, name, board.only), share)
                for defense in board.defenses:
                    settings = tuned(points, defense, name, share)
                    plain = with_settings(board.experiment(defense), settings).but(seed=seed)
                    for attack in ("", *goal.attacks):
                        yield Entry(defense, goal, share, attack, _cell(plain, defense, goal, share, attack))


def run_before(cells: Sequence[Cell], runs: Path) -> dict[str, Outcome]:
    """What a frontier has run in `runs`, by cell, unless it is damaged, stale, or run outside of it, too."""
    found: dict[str, Outcome] = {}
    for cell in cells:
        record = Record(searches_in(runs), cell.experiment)
        with suppress(RunError):
            if record.has_ended and not Record(runs, cell.experiment).has_ended and not record.stale():
                found[cell.name] = record.result or {}
    return found


def _cell(plain: Experiment, defense: str, goal: Goal, share: float, attack: str) -> Cell:
    experiment = plain.but(attack=goal.attacks[attack]) if attack else plain
    column = f"{goal.name}, {100 * share:g} %, {attack or 'unattacked'}"
    return Cell(defense, column, f"{defense}, {column}, seed {plain.seed}", experiment)


def _as_asked(board: Leaderboard, goal: Goal, share: float) -> Goal:
    """The goal with the file's own attacks, where it has any."""
    asked = board.attacks.get(goal.name)
    if not asked:
        return goal
    first = next(iter(goal.attacks.values()))
    made = {
        name: Attack(**{"objective": first.objective, **tree, "presence": Pool(fraction=share)})
        for name, tree in asked.items()
    }
    return goal._replace(attacks=made)


def tuned(points: Sequence[Row], defense: str, goal: str, share: float) -> dict[str, Any]:
    """The settings of a frontier's point for a defense: the goal's, else another goal's; none without any.

    Of those at the nearest share, the one whose test accuracy is farthest above its worst attack's success.
    """
    own = [point for point in points if point["defense"] == defense]
    mine = [point for point in own if point["goal"] == goal] or own
    nearest = min((abs(point["compromised"] - share) for point in mine), default=0.0)
    there = [point for point in mine if abs(point["compromised"] - share) == nearest]
    best = max(there, key=lambda point: point["test_accuracy"] - point["worst_attack_accuracy"], default=None)
    return {} if best is None else best["settings"]


def standings(board: Leaderboard, done: Sequence[tuple[Entry, Outcome]]) -> list[Standing]:
    """The worst case of every defense by goal and share, best defense first."""
    groups: dict[tuple[str, float, str], dict[int, dict[str, Outcome]]] = {}
    goals: dict[str, Goal] = {}
    for entry, end in done:
        goals[entry.goal.name] = entry.goal
        by_seed = groups.setdefault((entry.goal.name, entry.share, entry.defense), {})
        by_seed.setdefault(entry.cell.experiment.seed, {})[entry.attack] = end
    found = [_standing(goals[goal], share, name, runs) for (goal, share, name), runs in groups.items()]
    order = {goal: place for place, goal in enumerate(board.goals)}
    return sorted(found, key=lambda each: (order[each.goal], each.share, *_rank(each)))


def _rank(standing: Standing) -> tuple[float, float]:
    found = standing.found
    return (1e9, 0.0) if found is None else (found.worst_attack_accuracy, -found.test_accuracy)


def _standing(goal: Goal, share: float, name: str, runs: Mapping[int, Mapping[str, Outcome]]) -> Standing:
    rows = {
        seed: {attack: end for attack, end in by_attack.items() if isinstance(end, dict)}
        for seed, by_attack in runs.items()
    }
    whole = {seed: by for seed, by in rows.items() if len(by) == 1 + len(goal.attacks)}
    failed = {
        attack: str(end) for by in runs.values() for attack, end in by.items() if isinstance(end, Exception)
    }
    success: dict[str, float | None] = {}
    for attack in goal.attacks:
        parts = [
            measured(goal._replace(attacks={attack: goal.attacks[attack]}), by, (seed,)).worst_attack_accuracy
            for seed, by in (whole or rows).items()  # the same seeds as in the ranking, where it has any
            if attack in by and "" in by and by[""]["outcome"] == "trained"
        ]
        success[attack] = sum(parts) / len(parts) if parts else None
    found = averaged(measured(goal, by, (seed,)) for seed, by in whole.items())
    return Standing(name, goal.name, share, found, success, failed)

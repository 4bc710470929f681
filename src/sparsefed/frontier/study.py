"""One search: the settings of one defense against one goal, kept on disk by Optuna, so resumable."""

import random
import warnings
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from sparsefed.core.knobs import Knob
from sparsefed.federation.experiment import Experiment
from sparsefed.frontier.goals import Goal
from sparsefed.frontier.plan import Plan, for_search, with_settings
from sparsefed.frontier.points import Measured, dominated, measured
from sparsefed.frontier.storage import study_of
from sparsefed.runs.record import Row

__all__ = ["Question", "Study", "Trial"]

_SETTINGS, _RESULTS, _WHY = "settings", "measured", "refused"
_STARTUP = 8
"""Trials before the sampler learns from what was found."""
_SPREAD = 1 / 8
"""The standard deviation of the first settings around where the plan starts, as a share of a knob's range."""
_HOPELESS = 10.0
"""How many points of test accuracy below the best are too many: a report allows 5, and a search is rough."""
_REFUSED = 50
"""After so many settings that cannot be run, and none that can, a search ends."""


class Question(NamedTuple):
    """What one search answers: how good one defense can be against one goal."""

    defense: str
    share: float
    """The share of the clients that is compromised."""
    goal: Goal


class Study:
    """A multi-objective search: test accuracy up, the worst attack's success down."""

    def __init__(self, plan: Plan, question: Question, storage: Any, sizes: Mapping[str, int]) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.question = question
        self.defense, self.share, self.goal = defense, share, goal = question
        self.sizes = sizes
        self.knobs: dict[str, Knob] = {} if plan.vary else plan.searchable(defense)
        self._grid = list(plan.grid()) if plan.vary else []
        stated = {} if plan.vary else plan.stated(defense)
        places = {key: self.knobs[key].position(value, sizes) for key, value in stated.items()}
        self._stated = {key: place for key, place in places.items() if place is not None}
        self.base = for_search(plan.experiment(defense))
        tried = f" | {', '.join(goal.attacks)}" if plan.only else ""
        name = f"{defense} | {share:g} | {goal.name} | {self.base.digest()}{tried}"
        self._study = study_of(name, storage, sorted(self.knobs))
        self._set_sampler()
        self._interrupted = [trial for trial in self._trials() if trial.state.name == "RUNNING"]
        for trial in [each for each in self._interrupted if _SETTINGS not in each.user_attrs]:
            if self._grid:  # stopped while it was drawn
                self._set(trial.number, _SETTINGS, self._grid[trial.number])
            else:
                self._interrupted.remove(trial)
                self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        self._repeats = False

    def _set_sampler(self) -> None:
        import optuna

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna calls what is multi-objective in it experimental
            # A resumed search must not draw again what it drew before.
            seed = len(self._trials()) + zlib.crc32(self._study.study_name.encode())
            self._study.sampler = optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=_STARTUP, multivariate=True, constant_liar=True
            )

    def _trials(self) -> list[Any]:
        return self._study.get_trials(deepcopy=False)

    def discard(self) -> None:
        """Forget everything that was found and spent."""
        import optuna

        optuna.delete_study(study_name=self._study.study_name, storage=self._study._storage)

    @property
    def spent(self) -> tuple[float, float]:
        """Runs and seconds that this search has cost so far, over all its restarts."""
        return tuple(self._study.user_attrs.get("spent", (0.0, 0.0)))

    @property
    def searched(self) -> tuple[float, float]:
        """The part of `spent` that went into searching, not into the report."""
        return tuple(self._study.user_attrs.get("searched", (0.0, 0.0)))

    def charge(self, runs: float, seconds: float, searching: bool) -> None:
        """Add to what was spent, and where `searching` to that part."""
        self._study.set_user_attr("spent", [self.spent[0] + runs, self.spent[1] + seconds])
        if searching:
            self._study.set_user_attr("searched", [self.searched[0] + runs, self.searched[1] + seconds])

    @property
    def runs_of_one(self) -> int:
        """How many runs one setting takes at most: one without an attack, and one with each of the goal."""
        return 1 + len(self.goal.attacks)

    @property
    def stopped(self) -> bool:
        """Whether an earlier process left settings that it had begun; `ask` gives them first."""
        return bool(self._interrupted)

    @property
    def count(self) -> int:
        """How many settings were begun, ended or not."""
        return len(self._trials()) - len(self._interrupted)

    @property
    def tried(self) -> int:
        """How many settings were run to where they were decided."""
        return sum(trial.state.name == "COMPLETE" for trial in self._trials())

    @property
    def exhausted(self) -> bool:
        """Whether a grid has no point left, or many settings were tried of which none can be run."""
        if self._interrupted:
            return False
        if self._repeats:
            return True
        refused = sum(trial.state.name == "FAIL" for trial in self._trials())
        return self.count >= len(self._grid) if self._grid else refused >= _REFUSED and not self.tried

    def ask(self) -> "Trial | None":
        """The next settings to try; those that an earlier process left unfinished come first.

        None, once, where the sampler finds no settings any more that have not been tried.
        """
        if self._interrupted:
            left = self._interrupted.pop(0)
            settings = left.user_attrs.get(_SETTINGS) or self._grid[left.number]
            return Trial(self, left.number, settings)
        for _ in range(_REFUSED):
            trial = self._drawn()
            if self._grid or not self._tried_before(trial):
                return trial
            trial.give_up()
        self._repeats = True
        return None

    def _tried_before(self, trial: "Trial") -> bool:
        others = (
            each for each in self._trials() if each.number != trial.number and each.state.name != "FAIL"
        )
        return any(each.user_attrs.get(_SETTINGS) == trial.settings for each in others)

    def _drawn(self) -> "Trial":
        if self._grid:
            self._study.enqueue_trial(self._grid[self.count])
        elif self._stated and self.count < _STARTUP:
            self._study.enqueue_trial(self._near(self._stated) if self.count else self._stated)
        trial = self._study.ask()
        if self._grid:
            settings = self._grid[trial.number]
        else:
            settings = {
                key: knob.value(trial.suggest_float(key, knob.low, knob.high, log=knob.log), self.sizes)
                for key, knob in self.knobs.items()
            }
        trial.set_user_attr(_SETTINGS, settings)
        return Trial(self, trial.number, settings)

    def _near(self, positions: Mapping[str, float]) -> dict[str, float]:
        """Positions of the knobs not far from some: a federation's owner knows roughly what works."""
        draw = random.Random(f"{self._study.study_name} {self.count}")
        return {
            key: self.knobs[key].moved(position, draw.gauss(0, _SPREAD))
            for key, position in positions.items()
        }

    def is_hopeless(self, found: Measured) -> bool:
        """Whether settings learn too little without any attack for a report to choose them."""
        best = max((other.unattacked for _, other in self.finished()), default=0.0)
        return found.unattacked < best - _HOPELESS

    def refuse(self, trial: "Trial", why: str) -> None:
        """Record that the settings of a trial cannot be run."""
        import optuna

        self._set(trial.number, _WHY, why)
        self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)

    @property
    def refused(self) -> str:
        """Why the settings that were refused last cannot be run; empty if none were."""
        return next((why for t in reversed(self._trials()) if (why := t.user_attrs.get(_WHY))), "")

    def _set(self, number: int, key: str, value: Any) -> None:
        stored = next(trial for trial in self._trials() if trial.number == number)
        self._study._storage.set_trial_user_attr(stored._trial_id, key, value)

    def tell(self, trial: "Trial", found: Measured, hopeless: bool = False) -> None:
        """Record what a trial is worth."""
        if hopeless:
            # The sampler shall avoid the place; what attacks would do there was not measured.
            self._study.tell(trial.number, [found.test_accuracy, 100.0])
        else:
            self._set(trial.number, _RESULTS, list(found[:4]))
            self._study.tell(trial.number, list(found.values))

    def begun(self) -> list[dict[str, Any]]:
        """The settings of all trials, however they ended."""
        return [trial.user_attrs[_SETTINGS] for trial in self._trials() if _SETTINGS in trial.user_attrs]

    def finished(self) -> list[tuple[dict[str, Any], Measured]]:
        """Settings and values of the trials that were measured to their end, or until dominated."""
        done = [trial for trial in self._trials() if _RESULTS in trial.user_attrs and trial.values]
        seeds = (self.base.seed,)
        return [(t.user_attrs[_SETTINGS], Measured(*t.user_attrs[_RESULTS], seeds=seeds)) for t in done]


class Trial:
    """Some settings, measured against one attack of the goal after the other."""

    def __init__(self, study: Study, number: int, settings: dict[str, Any]) -> None:
        self.study, self.number, self.settings = study, number, settings
        self._results: dict[str, Row] = {}
        self._left = ["", *study.goal.attacks]

    def next(self) -> tuple[str, Experiment]:
        """The next attack's name, empty for none, and the experiment with it."""
        name = self._left[0]
        experiment = with_settings(self.study.base, self.settings)
        return name, experiment if not name else experiment.but(attack=self.study.goal.attacks[name])

    def record(self, result: Row) -> bool:
        """Take the result of `next`; whether the trial is over.

        It ends early where it is dominated already, as more attacks can only make its values worse, and
        where it is hopeless without any.
        """
        self._results[self._left.pop(0)] = result
        seeds = (self.study.base.seed,)
        found = measured(self.study.goal, self._results, seeds)
        others = [other.values for _, other in self.study.finished()]
        hopeless = bool(self._left) and self.study.is_hopeless(found)
        if self._left and not hopeless and not dominated(found.values, others):
            return False
        self.study.tell(self, found, hopeless)
        return True

    @property
    def runs_left(self) -> int:
        """How many runs it takes to its end, if it does not end early."""
        return len(self._left)

    def give_up(self, why: str = "") -> None:
        """These settings cannot be run."""
        self.study.refuse(self, why)

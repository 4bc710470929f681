"""Every attack there is for a goal, where a frontier's search makes do with a few."""

from sparsefed.attacks import (
    A3FL,
    ALIE,
    IPM,
    PGD,
    Blended,
    ConstrainAndScale,
    CriticalLayers,
    DistributedTrigger,
    FangKrum,
    Gaussian,
    Independent,
    Method,
    Mimic,
    MinMax,
    MinSum,
    Neurotoxin,
    Objective,
    OptimizedALIE,
    OptimizedIPM,
    PoisonedFL,
)
from sparsefed.data import Dataset
from sparsefed.federation.experiment import Experiment
from sparsefed.frontier.goals import BACKDOOR, CHOSEN_POINTS, UNTARGETED, Goal, goals_of

__all__ = ["every_attack"]

_STRIPS = 4


def every_attack(experiment: Experiment, dataset: Dataset, compromised: float) -> dict[str, Goal]:
    """The frontier's goals with all attacks that make sense for each."""
    goals = goals_of(experiment, dataset, compromised)
    return {name: goal._replace(attacks={**goal.attacks, **_more(goal)}) for name, goal in goals.items()}


def _more(goal: Goal) -> dict:
    """The attacks that a search leaves out, with the objective, presence and descent of the first it has."""
    first = next(iter(goal.attacks.values()))
    descent = dict(first.method) if isinstance(first.method, PGD) else {}
    methods: dict[str, Method] = {}
    objectives: dict[str, Objective] = {}
    if goal.name == CHOSEN_POINTS:
        methods = {"Neurotoxin": Neurotoxin(**descent), "blended": Blended(method=PGD(**descent))}
    elif goal.name == BACKDOOR:
        whole = {key: value for key, value in descent.items() if key != "epochs"}
        methods = {
            "Neurotoxin": Neurotoxin(**descent),
            "blended": Blended(method=PGD(**descent)),
            "A3FL": A3FL(**descent),
            "constrain and scale": ConstrainAndScale(**whole),
            "critical layers": CriticalLayers(**descent),
            "DBA": Independent(method=PGD(**descent), shards=_STRIPS),
        }
        strips = {"size": _STRIPS, "parts": _STRIPS}
        objectives["DBA"] = DistributedTrigger(**(dict(first.objective) | strips))
    elif goal.name == UNTARGETED:
        methods = {
            "Fang against Krum": FangKrum(),
            "ALIE": ALIE(),
            "ALIE for the rule": OptimizedALIE(),
            "IPM": IPM(),
            "IPM for the rule": OptimizedIPM(),
            "Min-Max": MinMax(),
            "Min-Sum": MinSum(),
            "mimic": Mimic(),
            "PoisonedFL": PoisonedFL(),
            "noise": Gaussian(),
        }
    return {
        name: first.but(method=method, objective=objectives.get(name, first.objective))
        for name, method in methods.items()
    }

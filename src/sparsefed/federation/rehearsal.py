"""One round in miniature with the user's own parts, so that their mistakes show before anything runs.

Only what a larger round cannot mend counts: knowledge that `needs` does not declare, results of the wrong
form, and names, attributes or arguments that do not exist. All else is left to the run itself; uploads of
zeros or of NaN, which may be meant, are named.
"""

import warnings
from typing import Any

import torch

from sparsefed.attacks import PGD, Attack, FixedPerRound, Method, Targeted
from sparsefed.clients import Gradient
from sparsefed.core.errors import DataError, SparseFedError, SpecError, located
from sparsefed.core.members import is_own
from sparsefed.core.notices import Notice, notify
from sparsefed.core.text import amount
from sparsefed.data import IID, Data, Dataset, Split
from sparsefed.defenses import Mean
from sparsefed.federation.checks import MisshapenUploads
from sparsefed.federation.experiment import Experiment
from sparsefed.federation.round import Federation, run_round
from sparsefed.models import Linear
from sparsefed.protocol.clips import FixedClip
from sparsefed.protocol.schedules import Constant

__all__ = ["IdleAttack", "in_miniature", "rehearse"]


class IdleAttack(Notice):
    """Uploads that move nothing."""


CHECKS = {
    "sparsefed.attacks.view",
    "sparsefed.core.memories",
    "sparsefed.defenses.base",
    "sparsefed.federation.checks",
}
"""Where what a part returns or reads is checked."""
MISTAKES = (NameError, AttributeError, TypeError, NotImplementedError)
"""What Python raises for code that cannot work on any data."""


class _Toy(Data):
    """Forty random images of 4×4 pixels in ten classes, to train and to test."""

    def load(self) -> Dataset:
        images = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))
        split = Split(images, torch.arange(40) % 10)
        return Dataset(split, split, 10)


def in_miniature(experiment: Experiment) -> Experiment | None:
    """The experiment with everything small but the user's own parts; None if it has none."""
    usual = {"clients": Gradient(), "schedule": Constant(value=0.1), "clip": FixedClip(norm=1.0)}
    usual["defense"] = Mean()
    parts = {name: _own(getattr(experiment, name), part) for name, part in usual.items()}
    method = PGD() if experiment.attack is None else _own(experiment.attack.method, PGD())
    if not any(is_own(type(part)) for part in (*parts.values(), method)):
        return None
    whole = {"rounds": 1, "cohort": 4, "data": _Toy(), "partition": IID(clients=8), "model": Linear()}
    return Experiment(**whole, **parts, attack=_attack(experiment, method))


def rehearse(toy: Experiment) -> None:
    """Run the one round of an experiment in miniature; raises `SpecError` for a mistake that it shows.

    Warns with `IdleAttack` where all that the attackers send is zeros, and with `RejectedUploads` where none
    of it is finite.
    """
    try:
        fed = Federation.of(toy)
        with warnings.catch_warnings():
            warnings.simplefilter("error", MisshapenUploads)
            _, report = run_round(fed, fed.initial_state)
    except MisshapenUploads as problem:
        raise SpecError(f"{problem} (in a round in miniature)") from None
    except MISTAKES as problem:
        hint = "; `view.honest` and `view.server` are None unless `needs` declares them"
        why = f"{located(problem)}{hint if 'NoneType' in str(problem) else ''}"
        raise SpecError(f"a round in miniature fails: {why}") from problem
    except SpecError as problem:
        if _raised_in(problem) in CHECKS:
            raise
    except Exception:  # the part may want more than a miniature has
        return
    else:
        if 0 < report.compromised == report.attackers_idle and not report.attackers_rejected:
            found = f"{amount(report.compromised, 'upload')} of zeros in a round in miniature"
            notify(IdleAttack, f"{fed.attack.method!r}: expected an attack, found {found}")


def _own(part: Any, usual: Any) -> Any:
    return part if is_own(type(part)) else usual


def _attack(experiment: Experiment, method: Method) -> Attack | None:
    """The user's attack on points that the toy has; none if that cannot be."""
    usual = Targeted(points=4)
    for objective in (usual if experiment.attack is None else experiment.attack.objective, usual):
        try:
            objective.auxiliary(_Toy().load(), 0)
            return Attack(objective=objective, presence=FixedPerRound(count=2), method=method)
        except (SparseFedError, DataError):
            continue
    return None


def _raised_in(problem: BaseException) -> str:
    """The module of the frame that raised an error."""
    trace = problem.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else trace.tb_frame.f_globals.get("__name__", "")
